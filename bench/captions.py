"""Captions through the whole system: WAV, WHIP, forwarding, worker, Redis, a reader's WebSocket.

    python -m bench.captions [--seconds 150] [--speech DIR] [--pairs en-pt,…] [--models DIR]
                             [--lines] [--json]

Speech is sent clip after clip at its own pace, each cut to its voiced part, under three
conditions: clean; with pink noise 10 dB below it; with 5 % of the packets lost on the way in.
Recorded and synthetic speech are rows of their own: synthetic speech is easier. Measured:

- `wer`: word error rate of the finals (characters for Chinese), `bench.scoring`;
- `final_ms`, `translated_ms`: from the last voiced sample being sent to the arrival of the last
  final of the clip, and of its translation, at the reader;
- `first_ms`, `partial_ms`: from the first voiced sample to the first words, and between updates;
- `erasure`: words changed after being shown, over the words of the finals (`scoring.erased`);
- invented text: lines shown for silence, noise and music;
- `speakers_per_core`: seconds of speech for each second of the worker's CPU, while one speaker
  talks continuously: voice activity, tentative hearings, finals and translation. It is only a
  fair figure where `steady_partial_ms_p50` is near 500: without time for tentative hearings a
  worker seems cheaper;
- `cores_elsewhere`: what other processes of the machine used meanwhile; `sent_late_ms`: how late
  the latest packet left. Latencies mean little unless both are small.

`--seconds` bounds the sound of the three conditions together; clips are taken in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import numpy as np

from bench import speech
from bench.caption_rooms import CLEAN, GAP_S, INVENT_S, LOST, NOISE, Said, Take, measure
from bench.common import ROOT, machine, server, table
from bench.scoring import distance, erased, quantile, tokens
from bench.speech import RATE, Clip
from translate.text import ENGINES, Translator

STEADY_S = 20.0
TRADITIONAL = ("firefox", "argos")


def in_turns(clips: Iterable[Clip], seconds: float) -> list[Clip]:
    """Clips up to so many seconds with their pauses, one of each language and kind at a time."""
    queues: dict[tuple[str, str], list[Clip]] = {}
    for clip in clips:
        queues.setdefault((clip.language, clip.speech), []).append(clip)
    chosen: list[Clip] = []
    while any(queues.values()):
        for queue in queues.values():
            if queue:
                chosen.append(queue.pop(0))
                seconds -= cost(chosen[-1])
                if seconds <= 0:
                    return chosen
    return chosen


def cost(clip: Clip) -> float:
    return (clip.end - clip.start) / RATE + GAP_S


def plan(clips: Sequence[Clip], seconds: float) -> dict[str, list[Clip]]:
    """What is said under each condition: everything clean if it fits into half of the time."""
    clean = in_turns(clips, seconds / 2)
    rest = max(0.0, seconds - sum(map(cost, clean))) / 2
    return {CLEAN: clean, NOISE: in_turns(clips, rest), LOST: in_turns(clips, rest)}


def takes_of(clips: Sequence[Clip], seconds: float) -> list[Take]:
    """Everything to say, encoded before the clock runs."""
    made = [
        Take.of(condition, clip, number)
        for condition, chosen in plan(clips, seconds).items()
        for number, clip in enumerate(chosen)
    ]
    wordless = {
        "silence": speech.silence(INVENT_S),
        "noise": speech.noise(INVENT_S, seed=3),
        "music": speech.music(INVENT_S),
    }
    return made + [
        Take.wordless(name, clips[0].language, sound) for name, sound in wordless.items()
    ]


def steady_speech(
    clips: Sequence[Clip], spoken: Sequence[str], seconds: float
) -> tuple[str, list[tuple[bytes, int]]]:
    """Speech without pauses in the first of the languages."""
    parts = [
        np.append(clip.sound[clip.start : clip.end], speech.silence(0.1))
        for clip in clips
        if clip.language == spoken[0]
    ]
    whole = np.concatenate(parts)
    repeated = np.tile(whole, 1 + int(seconds * RATE / len(whole)))
    return spoken[0], speech.encode(repeated[: round(seconds * RATE)].astype(np.float32))


def routes(root: pathlib.Path, asked: str, spoken: set[str]) -> dict[tuple[str, str], str]:
    """The pairs to measure and their engines. Those asked for may use the language model; else
    each language spoken is read in the first language that a translation model has."""
    quick, every = Translator(root, engines=TRADITIONAL), Translator(root, engines=ENGINES)
    if asked:
        pairs = [(a, b) for a, _, b in (pair.partition("-") for pair in asked.split(","))]
    else:
        pairs = [
            min(pair for pair in sorted(quick.pairs()) if pair[0] == language)
            for language in sorted(spoken)
            if any(pair[0] == language for pair in quick.pairs())
        ]
    found = {}
    for source, target in pairs:
        legs = quick.route(source, target) or every.route(source, target)
        if not legs:
            raise RuntimeError(f"No model here translates {source}-{target}.")
        found[source, target] = "+".join(dict.fromkeys(leg.engine for leg in legs))
    return found


def row(said: Sequence[Said], target: str | None, engine: str | None) -> dict[str, Any]:
    """Figures of what was said in one language under one condition."""
    clip = said[0].take.clip
    assert clip is not None
    language, wrong, words = clip.language, 0, 0
    finals: list[float] = []
    translated: list[float] = []
    first: list[float] = []
    between: list[float] = []
    for each in said:
        assert each.take.clip is not None
        wanted = tokens(each.take.clip.text, language)
        wrong += distance(wanted, tokens(each.heard, language))
        words += len(wanted)
        lines = [line for line in each.lines if line.final and line.final[1]]
        if lines:
            finals.append(1000 * (max(line.final[0] for line in lines if line.final) - each.end))
            first.append(1000 * (min(line.shown[0][0] for line in lines) - each.start))
            if target is not None and all(target in line.translations for line in lines):
                at = max(line.translations[target] for line in lines)
                translated.append(1000 * (at - each.end))
        for line in lines:
            between += line.intervals_ms()
    return {
        "language": language,
        "speech": clip.speech,
        "condition": said[0].take.condition,
        "clips": len(said),
        "wer": round(wrong / max(1, words), 3),
        "final_ms_p50": _rounded(quantile(finals, 0.5)),
        "final_ms_p95": _rounded(quantile(finals, 0.95)),
        "target": target,
        "engine": engine,
        "translated_ms_p50": _rounded(quantile(translated, 0.5)),
        "translated_ms_p95": _rounded(quantile(translated, 0.95)),
        "not_translated": None if target is None else len(said) - len(translated),
        "first_ms_p50": _rounded(quantile(first, 0.5)),
        "partial_ms_p50": _rounded(quantile(between, 0.5)),
        "erasure": erasure(said),
    }


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def erasure(said: Iterable[Said]) -> float | None:
    """Of all lines together; None where there are none."""
    changed = words = 0
    for each in said:
        for line in each.lines:
            if each.take.clip is not None and line.final:
                more, of = erased([text for _, text in line.shown], each.take.clip.language)
                changed, words = changed + more, words + of
    return round(changed / words, 3) if words else None


def report(result: dict[str, Any], pairs: dict[tuple[str, str], str]) -> dict[str, Any]:
    """What `--json` prints, but for the short lines."""
    groups: dict[tuple[str, str, str], list[Said]] = {}
    for said in result["said"]:
        if said.take.clip is not None:
            key = (said.take.clip.language, said.take.clip.speech, said.take.condition)
            groups.setdefault(key, []).append(said)
    rows = []
    for (language, _, _), group in sorted(groups.items()):
        targets = [(b, engine) for (a, b), engine in pairs.items() if a == language]
        rows += [row(group, *target) for target in targets] or [row(group, None, None)]
    wordless = [said for said in result["said"] if said.take.clip is None]
    invented = [
        {"sound": said.take.condition, "text": line.shown[-1][1] or line.shown[0][1]}
        for said in wordless
        for line in said.lines
        if any(text for _, text in line.shown)
    ]
    return {
        "rows": rows,
        "erasure": erasure(said for said in result["said"] if said.take.condition == CLEAN),
        "erasure_disturbed": erasure(
            s for s in result["said"] if s.take.condition in (NOISE, LOST)
        ),
        "speakers_per_core": round(1 / result["cpu"], 2) if result["cpu"] else None,
        "steady_partial_ms_p50": _rounded(quantile(result["steady_between_ms"], 0.5)),
        "worker_mb": result["worker_mb"],
        "invented": len(invented),
        "invented_lines": invented,
        "invented_of_s": INVENT_S * len(wordless),
        "sent_late_ms": result["sent_late_ms"],
        "cores_elsewhere": result["cores_elsewhere"],
    }


def short_lines(models: pathlib.Path, pairs: str) -> dict[str, Any]:
    """`bench.short` on the translation models; nulls where it does not run."""
    command = [sys.executable, "-m", "bench.short", "--json", "--phrases", "on"]
    command += ["--models", str(models), "--engines", ",".join(TRADITIONAL)]
    command += ["--pairs", pairs] if pairs else []
    keys = ("short_failures", "short_total")
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=120, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        return {key: found[key] for key in keys}
    except (subprocess.SubprocessError, OSError, ValueError, LookupError) as error:
        print(f"bench.short: {error}", file=sys.stderr)
        return dict.fromkeys(keys)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.captions")
    add = parser.add_argument
    add("--speech", type=pathlib.Path, default=ROOT / "tests" / "data" / "speech", metavar="DIR")
    add("--pairs", default="", help='as "en-pt,es-en"; may use the language model')
    add("--models", type=pathlib.Path, default=ROOT / ".cache" / "models", metavar="DIR")
    add("--seconds", type=float, default=150.0, help="of sound, the three conditions together")
    add("--lines", action="store_true", help="show what was heard of every clip")
    add("--json", action="store_true", help="one JSON object on the last line")
    args = parser.parse_args()
    models = args.models.resolve()
    try:
        clips = speech.load(args.speech)
        pairs = routes(models, args.pairs, {clip.language for clip in clips})
        settings = {"captions_models": models, "captions_fetch": "false"}
        llm = any("llm" in engine for engine in pairs.values())
        settings["captions_language_model"] = str(llm).lower()
        takes = takes_of(clips, args.seconds)
        spoken = [source for source, _ in pairs] or [clips[0].language]
        steady = steady_speech(clips, spoken, min(STEADY_S, args.seconds / 4))
        with server(**settings) as (url, pid):
            result = asyncio.run(measure(url, pid, takes, steady, list(pairs)))
    except (OSError, LookupError, ValueError, RuntimeError, aiohttp.ClientError) as error:
        print(f"bench.captions: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    told = report(result, pairs) | short_lines(models, args.pairs)
    if args.lines:
        for said in result["said"]:
            if (clip := said.take.clip) is not None:
                print(f"{said.take.condition:10} {clip.name}: {said.heard}  [{clip.text}]")
    print(table(told["rows"]))
    print("\n" + table([{k: v for k, v in told.items() if not isinstance(v, list)}]))
    for line in told["invented_lines"]:
        print(f"invented on {line['sound']}: {line['text']}")
    if args.json:
        print(json.dumps({"machine": machine()} | told, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
