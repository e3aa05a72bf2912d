"""One utterance from its first tentative words to its translations. Pure: no clock, no I/O.

While somebody speaks, the recogniser hears the utterance again and again, each time a little
more of it. Words that two hearings in a row agree on (the one at the cut excepted) are confirmed
and stay as they are: LocalAgreement-2. The rest of the newest hearing is shown behind them,
tentative. When the utterance is over it is heard whole, and that text is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chatroom.protocol import Caption
from translate.language import is_traditional, same_text
from translate.words import bare, units, without_ending


def targets(spoken: str, wanted: Iterable[str]) -> list[str]:
    """The languages that a line has to be translated to, in a stable order: those read and not
    spoken. The other characters of spoken Chinese count as another language."""
    return sorted(
        target
        for target in set(wanted)
        if not same_text(spoken, target) or is_traditional(spoken) != is_traditional(target)
    )


class Agreement:
    """What is confirmed of an utterance that is heard again and again."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._confirmed: list[str] = []
        self._previous: list[str] = []
        """The last hearing behind what was confirmed when it came."""

    @property
    def confirmed(self) -> str:
        """The beginning that does not change any more."""
        return "".join(self._confirmed).strip()

    def hear(self, text: str) -> str:
        """A new hearing of the utterance so far. Returns what to show: `confirmed` and the
        tentative words behind it."""
        heard = units(without_ending(text), self._language)
        tail = heard[_overlap(self._confirmed, heard) :]
        agreed = 0
        # The last word stands at the cut and may be half of one, however often it is heard.
        for before, now in zip(self._previous, tail[:-1], strict=False):
            if bare(before) != bare(now):
                break
            agreed += 1
        self._confirmed += tail[:agreed]
        self._previous = tail[agreed:]
        return "".join(self._confirmed + self._previous).strip()


def _overlap(confirmed: Sequence[str], heard: Sequence[str]) -> int:
    """How many units at the beginning of `heard` say what is confirmed: as many, where they are
    the same; else as many as make the smallest edit distance."""
    left = [bare(unit) for unit in confirmed]
    right = [bare(unit) for unit in heard]
    if right[: len(left)] == left:
        return len(left)
    row = list(range(len(right) + 1))
    for index, word in enumerate(left, start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(right, start=1):
            cost = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other))
            diagonal, row[column] = row[column], cost
    # Of several, the one next to the same length: neither repeats nor swallows words.
    return min(range(len(row)), key=lambda end: (row[end], abs(end - len(left))))


class Line:
    """The captions of one utterance. Every change gives a `Caption` with a higher revision."""

    def __init__(
        self, utterance: str, participant: str, name: str, language: str, start_ms: int
    ) -> None:
        self.utterance = utterance
        self.participant = participant
        self.name = name
        self.language = language
        self.start_ms = start_ms
        self.end_ms = start_ms
        self.text = ""
        self.revision = 0
        self.final = False
        self._agreement = Agreement(language)
        self._translations: dict[str, str] = {}
        self._untranslated: dict[str, str] = {}

    @property
    def shown(self) -> bool:
        """Whether anything was posted."""
        return self.revision > 0

    def hear(self, text: str, end_ms: int) -> Caption | None:
        """A hearing of the utterance so far; `end_ms` is the room's clock where it ended. None
        where there is nothing new to show: no words, the same words, or it is final already."""
        if self.final or not text.strip():
            return None
        shown = self._agreement.hear(text)
        self.end_ms = max(self.end_ms, end_ms)
        if not shown or shown == self.text:
            return None
        self.text = shown
        return self._next()

    def settle(self, text: str, end_ms: int) -> Caption | None:
        """The whole utterance is heard: `text` is final. Empty: it was nothing after all; then
        a line that was shown is taken back by an empty final, and one that was not gives None.
        What was translated so far was translated from tentative words and is forgotten."""
        if self.final:
            return None
        self.final = True
        if not text and not self.shown:
            return None
        self.text = text
        self.end_ms = max(self.start_ms, end_ms)
        self._translations.clear()
        self._untranslated.clear()
        return self._next()

    def give_up(self, end_ms: int) -> Caption | None:
        """There was no time to hear the whole utterance: what is shown is final as it is."""
        return self.settle(self.text, end_ms)

    def translated(self, target: str, translation: str, original: str) -> Caption | None:
        """`original` in the language `target`. None where it does not fit any more: the line
        is final by now and says something else. While tentative, a translation of slightly
        older words is better than none."""
        if (self.final and original != self.text) or not self.text:
            return None
        if self._translations.get(target) == translation:
            return None
        self._translations[target] = translation
        self._untranslated.pop(target, None)
        return self._next()

    def not_translated(self, target: str, code: str) -> Caption | None:
        """The error code that says why there will be no translation of the final line."""
        if not self.final or not self.text or target in self._translations:
            return None
        if self._untranslated.get(target) == code:
            return None
        self._untranslated[target] = code
        return self._next()

    def _next(self) -> Caption:
        self.revision += 1
        return Caption(
            utterance=self.utterance,
            participant=self.participant,
            name=self.name,
            revision=self.revision,
            final=self.final,
            language=self.language,
            text=self.text,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            translations=dict(self._translations),
            untranslated=dict(self._untranslated),
        )
