"""What was said in a room so far, as a file: WebVTT, SubRip, text or JSON. Pure.

Times are those of the room's clock, which starts at 0 when the room is created. A reader's
language is chosen as for captions: what is spoken in it is shown as it was said, the rest
translated as far as somebody has read it in that language. A line that has no translation is
shown as it was said, with its language before it: "[es] Buenas tardes."
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable

import msgspec

from chatroom.errors import LanguageUnavailable
from chatroom.protocol import Caption, Millis, Record
from translate.language import is_traditional, same_text


class TranscriptLine(Record, frozen=True):
    """One utterance of a `Transcript`."""

    utterance: str
    participant: str
    name: str
    start_ms: Millis
    """On the room's clock."""
    end_ms: Millis
    language: str
    """Of `text`."""
    text: str
    spoken: str
    """Language that was spoken."""
    original: str | None
    """What was said, where `text` is a translation of it and both were asked for."""
    translated: bool
    """Whether `text` is a translation."""
    untranslated: bool
    """Whether `text` should be a translation and is what was said, because there is none."""


class Transcript(Record, frozen=True):
    """Answer of `GET /api/rooms/{room}/captions` with `format=json`."""

    room: str
    title: str
    created_at: float
    """Unix time, seconds, where the room's clock is 0."""
    language: str | None
    """That was asked for; null for what was said."""
    lines: list[TranscriptLine]


RECORDS: tuple[type[Record], ...] = (TranscriptLine, Transcript)


def lines_of(
    captions: Iterable[Caption], language: str | None, both: bool = False
) -> list[TranscriptLine]:
    """Final captions as a reader of the language gets them, by the time when they began; with
    `both`, what was said is beside each translation. Raises LanguageUnavailable where something
    was said, and nothing of it is in that language."""
    said = sorted((c for c in captions if c.text), key=lambda each: each.start_ms)
    lines = [_line(caption, language, both) for caption in said]
    if lines and all(line.untranslated for line in lines):
        there = {caption.language for caption in said}
        there |= {target for caption in said for target in caption.translations}
        raise LanguageUnavailable(
            f"Nothing in this room was said in or translated into {language!r}. There is: "
            f"{', '.join(sorted(there))}."
        )
    return lines


def _line(caption: Caption, language: str | None, both: bool) -> TranscriptLine:
    translation = None if language is None else caption.translations.get(language)
    as_said = language is None or _as_said(caption.language, language)
    return TranscriptLine(
        utterance=caption.utterance,
        participant=caption.participant,
        name=_one_line(caption.name),
        start_ms=caption.start_ms,
        # A cue has to take some time to be one.
        end_ms=max(caption.end_ms, caption.start_ms + 1),
        language=caption.language if translation is None or language is None else language,
        text=_one_line(caption.text if translation is None else translation),
        spoken=caption.language,
        original=_one_line(caption.text) if both and translation is not None else None,
        translated=translation is not None,
        untranslated=translation is None and not as_said,
    )


def _as_said(spoken: str, read: str) -> bool:
    """Whether a line needs no translation: the other Chinese characters do."""
    return same_text(spoken, read) and is_traditional(spoken) == is_traditional(read)


def _one_line(text: str) -> str:
    """Without line breaks: an empty line would end a cue."""
    return " ".join(text.split())


# ------------------------------------------------------------------------------ formats


def vtt(transcript: Transcript) -> str:
    """WebVTT (W3C): the speaker in a voice tag, each language in a language tag."""
    cues = ["WEBVTT\n"]
    for line in transcript.lines:
        shown = [_tagged(line.language, _marked(line))]
        if line.original is not None:
            shown.append(_tagged(line.spoken, line.original))
        times = f"{_clock(line.start_ms, '.')} --> {_clock(line.end_ms, '.')}"
        words = "\n".join(shown)
        cues.append(f"{line.utterance}\n{times}\n<v {_escaped(line.name)}>{words}</v>\n")
    return "\n".join(cues)


def srt(transcript: Transcript) -> str:
    """SubRip, as players read it: no escapes, the speaker before the words."""
    cues = []
    for number, line in enumerate(transcript.lines, 1):
        times = f"{_clock(line.start_ms, ',')} --> {_clock(line.end_ms, ',')}"
        words = f"{line.name}: {_marked(line)}"
        if line.original is not None:
            words += f"\n{line.original}"
        cues.append(f"{number}\n{times}\n{words}\n")
    return "\n".join(cues)


def txt(transcript: Transcript) -> str:
    """A line for each utterance: when it began, who spoke, the words."""
    rows = []
    for line in transcript.lines:
        rows.append(f"[{_clock(line.start_ms, '.')[:-4]}] {line.name}: {_marked(line)}\n")
        if line.original is not None:
            rows.append(f"           {line.original}\n")
    return "".join(rows)


def as_json(transcript: Transcript) -> str:
    return msgspec.json.encode(transcript).decode()


FORMATS: dict[str, tuple[Callable[[Transcript], str], str]] = {
    "vtt": (vtt, "text/vtt"),
    "srt": (srt, "application/x-subrip"),
    "txt": (txt, "text/plain"),
    "json": (as_json, "application/json"),
}
"""Name of a format to what writes it and its content type; all are UTF-8."""


def file_name(transcript: Transcript, format: str) -> str:
    """A name that any system takes: ids and language tags are letters, digits and hyphens."""
    language = f"-{transcript.language}" if transcript.language else ""
    return f"captions-{transcript.room}{language}.{format}"


def _marked(line: TranscriptLine) -> str:
    return f"[{line.language}] {line.text}" if line.untranslated else line.text


def _clock(ms: int, point: str) -> str:
    """hh:mm:ss and thousandths; hours may have more digits."""
    seconds, thousandths = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"


def _tagged(language: str, text: str) -> str:
    return f"<lang {language}>{_escaped(text)}</lang>"


def _escaped(text: str) -> str:
    """As text and annotations of a cue have to be: no tag and no arrow can come of it."""
    return html.escape(text, quote=False)
