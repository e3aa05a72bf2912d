"""How captions are scored: error rates and erasure. Pure.

Texts are compared as a listener hears them: without case, punctuation and hyphens, Chinese in
simplified characters, whole numbers in words, "Mr" as "mister".
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Sequence

from translate import figures, numerals
from translate.language import base, to_variant
from translate.words import UNSPACED

_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}
_CJK = re.compile(r"([\u3040-\u30ff\u3400-\u9fff])")


def tokens(text: str, language: str) -> list[str]:
    """The words of a text; for languages written without spaces the characters, where a run of
    Latin letters is one."""
    tag = base(language)
    text = unicodedata.normalize("NFKC", to_variant(text, language)).casefold()
    text = re.sub(r"(?<=\w)['’](?=\w)", "", text)
    if tag in figures.LANGUAGES:
        text = re.sub(r"\d{1,3}(?!\d)", lambda found: _spelled(found.group(), tag), text)
    text = "".join(c if c.isalnum() or unicodedata.category(c) == "Mn" else " " for c in text)
    if tag in UNSPACED:
        text = _CJK.sub(r" \1 ", text)
    words = text.split()
    return [_TITLES.get(word, word) for word in words] if tag == "en" else words


def _spelled(digits: str, tag: str) -> str:
    said = numerals.words(int(digits), tag)
    return said if tag in UNSPACED else f" {said} "


def distance(wanted: Sequence[str], heard: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions between two lists."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(heard, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other))
            diagonal, row[column] = row[column], cost
    return row[-1]


def erased(shown: Sequence[str], language: str) -> tuple[int, int]:
    """What a reader saw of one line, in order, the last one final: how many words were changed
    after being shown, and how many the final has.

    Of every text, the words behind the beginning that it shares with the next one were changed:
    the sum over the line is Σ |text| - |common prefix(text, next)|. Words that are added at the
    end change nothing. The normalised erasure of many lines is the sum of the first number over
    the sum of the second (Arivazhagan et al., 2020, arXiv:1912.03393)."""
    lists = [tokens(text, language) for text in shown]
    changed = 0
    for before, after in itertools.pairwise(lists):
        common = 0
        while common < min(len(before), len(after)) and before[common] == after[common]:
            common += 1
        changed += len(before) - common
    return changed, len(lists[-1]) if lists else 0


def quantile(values: Sequence[float], point: float) -> float | None:
    """The smallest value that a fraction of all do not exceed (nearest rank); None where there
    are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(point * len(ordered)) - 1)]
