"""Recognised text as words: splitting, comparing, and loops that a recogniser fell into. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from translate.language import base

UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
"""Languages written without spaces between words: their units are characters."""

_SPACED_UNIT = re.compile(r"\s*\S+")
_PUNCTUATION = r"[^\w\s]"
_UNSPACED_UNIT = re.compile(rf"\s*(?:[A-Za-z0-9\u00c0-\u024f'’-]+|\S){_PUNCTUATION}*")
_ENDING = re.compile(r"[\s.,;:!?…。，、；：！？\-–—]+$")
_CJK = r"[\u3040-\u30ff\u3400-\u9fff]"
_WIDE = {",": "，", "?": "？", "!": "！", ";": "；", ":": "："}
_NARROW_AFTER_CJK = re.compile(rf"(?<={_CJK})([,?!;:])\s*")
_STOP_AFTER_CJK = re.compile(rf"(?<={_CJK})\.(?!\d)")


def units(text: str, language: str) -> list[str]:
    """The words, or for languages without spaces the characters, with the space before and the
    punctuation behind them; joined they are the text again."""
    pattern = _UNSPACED_UNIT if base(language) in UNSPACED else _SPACED_UNIT
    return pattern.findall(text)


def bare(unit: str) -> str:
    """What of a unit counts when two are compared: letters and digits, without case."""
    return "".join(c for c in unit if c.isalnum()).casefold()


def without_ending(text: str) -> str:
    """The text without closing punctuation, which a recogniser puts where sound was cut."""
    return _ENDING.sub("", text)


def tidy(text: str, language: str) -> str:
    """Spaces squeezed; in Chinese and Japanese, punctuation as wide as the characters."""
    text = re.sub(r"\s+", " ", text).strip()
    if base(language) in {"zh", "yue", "ja"}:
        text = _NARROW_AFTER_CJK.sub(lambda match: _WIDE[match.group(1)], text)
        text = _STOP_AFTER_CJK.sub("。", text)
    return text


def loop_start(parts: Sequence[str], unspaced: bool) -> int | None:
    """Where the end of a text only repeats what stands before it: the index from which on it
    does, or None. Either the whole text begins again ("How much is it? How much is"), or its
    end goes round and round. Few repeated short words are speech ("no, no, no"); a clause said
    again is a recogniser's loop, or somebody who says it twice: the caller has to find out."""
    keys = [bare(part) for part in parts]
    count = len(keys)
    again = 4 if unspaced else 3
    for period in range(1, count):
        run = 0
        while run < count - period and _same(keys, count - 1 - run, period):
            run += 1
        if run == count - period:
            enough = again if period >= again else (2 if unspaced else 1) + 2 * period
        elif period < again:
            enough = 3 * period + 1
        else:
            enough = period
        if run >= enough:
            return count - run
    return None


def _same(keys: Sequence[str], index: int, period: int) -> bool:
    """Whether a unit repeats the one a period before; the last may be cut off."""
    before = keys[index - period]
    if index == len(keys) - 1 and keys[index]:
        return before.startswith(keys[index])
    return before == keys[index]


def collapse(text: str, language: str) -> str:
    """The text without a loop at its end."""
    parts = units(text, language)
    at = loop_start(parts, base(language) in UNSPACED)
    return text if at is None else "".join(parts[:at]).strip()


def has_loop(text: str, language: str) -> bool:
    """Whether the end of the text only repeats what stands before it."""
    return loop_start(units(text, language), base(language) in UNSPACED) is not None
