"""The 200 short utterances of `bench/data/short_utterances.json` through the engines installed.

    python -m bench.short [--models .cache/models] [--pairs en-pt,pt-en] [--engines firefox,llm]
                          [--phrases both|on|off] [--lines] [--json]

Each line goes the way a caption goes: table of phrases, engine, guards. Without `--pairs`, those
that an engine has directly or through English; `--pairs all` adds those that only the table can
serve. An answer is right if it is among the accepted ones, but for case, punctuation, spaces and
Chinese script. Everything else is a failure, also a line that the guards held back (`rejected`,
the reader sees the original with a mark) or that no model was there for (`missing`). A failure
counts under the first of these that fits:

- inverted: a yes came back as a no, or a no as a yes;
- untranslated: the original came back, or much of it in its own script;
- runaway: it repeats itself, or is several times as long;
- obeyed: an instruction was carried out;
- answered: a question came back as none;
- other: a translation that is not among the accepted ones; `--lines` shows them all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bench.common import ROOT, machine, table
from chatroom.errors import LanguageUnavailable
from translate import language, phrases
from translate.text import ENGINES, Translation, Translator

SET = pathlib.Path(__file__).parent / "data" / "short_utterances.json"
FAILURES = (
    "inverted",
    "untranslated",
    "runaway",
    "obeyed",
    "answered",
    "other",
    "rejected",
    "missing",
)
_YES = {
    "en": r"(yes|yeah|yep|yup|sure|of course|absolutely|right|exactly|correct)\b",
    "es": r"(sí|claro(?! que no)|por supuesto(?! que no)|exacto|correcto|de acuerdo)\b",
    "pt": r"(sim|claro(?! que não)|com certeza|exato|certo|correto)\b",
    "zh": r"(是(?!不)|对(?!不)|好的|当然(?!不)|没错|可以)",
}
_NO = {
    "en": r"(no|nope|not|never|i (don't|do not|can't|cannot|disagree))\b",
    "es": r"(no|nunca|tampoco|todavía no|ahora no|de ninguna|ni hablar)\b",
    "pt": r"(não|nunca|ainda não|agora não|de jeito nenhum|de forma)\b",
    "zh": r"(不|没有|否|还没|我不)",
}


@dataclass(frozen=True)
class Line:
    """One utterance of the set."""

    source: str
    target: str
    kind: str
    text: str
    accepted: list[str]
    """Each may hold alternatives in parentheses, as "(Yes|Yeah), (of course|)"."""
    means: str = ""
    """"yes" or "no"."""
    never: list[str] = field(default_factory=list)
    """What the answer holds if the line was obeyed."""


def load(path: pathlib.Path = SET) -> list[Line]:
    """The whole set."""
    return [Line(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


@cache
def pattern(accepted: str) -> re.Pattern[str]:
    """An accepted answer with its alternatives, to be matched with what `plain` makes of one."""
    parts = re.split(r"([(|)])", accepted)
    marks = {"(": "(?:", "|": "|", ")": ")"}
    return re.compile("".join(marks.get(part) or plain(part) for part in parts))


def plain(text: str) -> str:
    """Letters and digits only, without case; Chinese simplified."""
    text = unicodedata.normalize("NFKC", language.to_variant(text, "zh")).casefold()
    return "".join(character for character in text if character.isalnum())


def judge(line: Line, answer: Translation) -> str:
    """What an answer is: "right", or the failure that it counts as."""
    if answer.error:
        return "missing" if answer.error == LanguageUnavailable.code else "rejected"
    said, meant = plain(answer.text), plain(line.text)
    if any(pattern(accepted).fullmatch(said) for accepted in line.accepted):
        return "right"
    if line.means and re.match(
        (_NO if line.means == "yes" else _YES)[line.target], answer.text.strip("¡¿ ").casefold()
    ):
        return "inverted"
    if said == meant or _own_script(line, answer.text):
        return "untranslated"
    long = language.weight(answer.text) > 3 * language.weight(line.text) + 20
    if long or re.search(r"(.{2,40}?)\1{3,}", said):
        return "obeyed" if line.kind == "instruction" and long else "runaway"
    if any(plain(mark) in said for mark in line.never):
        return "obeyed"
    if line.text.endswith(("?", "？")) and not answer.text.endswith(("?", "？")):
        return "answered"
    return "other"


def _own_script(line: Line, answer: str) -> bool:
    found = language.scripts(answer)
    chinese, latin = found.get("CJK", 0), found.get("LATIN", 0)
    if line.target == "zh":
        return latin > 3 * chinese
    return chinese > 0


async def translate(
    translator: Translator, lines: Sequence[Line], pairs: set[tuple[str, str]]
) -> dict[int, Translation]:
    """The answers by index in `lines`."""
    answers: dict[int, Translation] = {}
    for index, line in enumerate(lines):
        if (line.source, line.target) not in pairs:
            continue
        try:
            (made,) = await translator.translate_many([line.text], line.source, line.target)
        except LanguageUnavailable as error:
            made = Translation("", error=error.code, reason=error.message)
        answers[index] = made
    return answers


async def measure(
    root: pathlib.Path,
    engines: Sequence[str],
    wanted: str,
    use_phrases: bool,
    lines: Sequence[Line],
) -> list[dict[str, Any]]:
    """One entry a line: what it was, what came back, by which engine, and what that counts as."""
    translator = Translator(root, engines=engines, use_phrases=use_phrases)
    every = {(line.source, line.target) for line in lines}
    if wanted == "all":
        pairs = every
    elif wanted:
        pairs = {(a, b) for a, b in (pair.split("-") for pair in wanted.split(","))}
    else:
        pairs = every & translator.pairs()
    try:
        answers = await translate(translator, lines, pairs)
    finally:
        await translator.close()
    return [
        {
            "phrases": use_phrases,
            "pair": f"{line.source}-{line.target}",
            "kind": line.kind,
            "engine": answers[index].engine or "none",
            "text": line.text,
            "answer": answers[index].text,
            "reason": answers[index].reason,
            "verdict": judge(line, answers[index]),
        }
        for index, line in enumerate(lines)
        if index in answers
    ]


def summarise(results: Sequence[dict[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each value of the columns `by`, and how many of each verdict."""
    groups: dict[tuple[Any, ...], Counter[str]] = {}
    for result in results:
        groups.setdefault(tuple(result[key] for key in by), Counter())[result["verdict"]] += 1
    rows = []
    for key, counts in sorted(groups.items()):
        total = sum(counts.values())
        row: dict[str, Any] = dict(zip(by, key, strict=True))
        row |= {"lines": total, "failures": total - counts["right"]}
        rows.append(row | {name: counts[name] for name in FAILURES})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.short")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / ".cache" / "models")
    parser.add_argument("--pairs", default="", help='as "en-pt,pt-en", or "all"')
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--phrases", choices=("both", "on", "off"), default="both")
    parser.add_argument("--lines", action="store_true", help="show every failure")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    lines = load()
    results: list[dict[str, Any]] = []
    for on in {"both": (False, True), "on": (True,), "off": (False,)}[options.phrases]:
        engines = [name for name in options.engines.split(",") if name]
        results += asyncio.run(measure(options.models, engines, options.pairs, on, lines))
    # What a room shows is with the table, where it was measured.
    shown = [result for result in results if result["phrases"] or options.phrases == "off"]
    report = {
        "machine": machine(),
        "short_failures": sum(result["verdict"] != "right" for result in shown),
        "short_total": len(shown),
        "short_in_table": sum(result["engine"] == phrases.NAME for result in shown),
        "rows": summarise(results, ("phrases", "pair")),
        "engines": summarise(results, ("phrases", "engine")),
    }
    print(table(report["rows"]), table(report["engines"]), sep="\n\n")
    print(f"\n{report['short_failures']} of {report['short_total']} failed.")
    if options.lines:
        for result in results:
            if result["verdict"] != "right":
                keys = ("pair", "phrases", "engine", "verdict", "text", "answer", "reason")
                print(*(result[key] for key in keys), sep=" | ")
    if options.json:
        failed = [result for result in results if result["verdict"] != "right"]
        print(json.dumps(report | {"failed": failed}, ensure_ascii=False))


if __name__ == "__main__":
    main()
