"""Short lines by heart: what engines get wrong most often, because a greeting or a "no" gives them
nothing to go by.

`data/phrases/*.toml` holds concepts, each with the forms by which it is recognised in every
language; the first form, or the one in `render`, is how it is said there. So n languages need n
columns, not n² pairs. A concept has also:

- `answer` "yes" or "no" where it assents or refuses (`inverts` watches over these);
- `joins = true` where it may follow another without punctuation between ("OK thanks"); nothing
  that refuses may, since "no" before another phrase usually denies it;
- `only` where some languages lack it, because there it would have to say more than was said.

A line is translated only as a whole: each of its parts is a phrase, a number or a clock time
(`translate.figures`). Case, punctuation, wide characters, traditional characters and repetition do
not matter. A question mark does: "no?" is not "no". What is not here, an engine translates.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from translate import figures, language

NAME = "phrases"
"""What stands in the place of an engine's name."""

_MOST_PARTS = 12
_PARTS_OF_ONE = 4
_REPEATED = 3
"""Said more often than this, a phrase is repeated only so many times."""

_WIDE = {",": "，", ".": "。", "!": "！", "?": "？", "…": "……", "": ""}
_FILLERS = frozenset("嗯哦啊呃额噢喔唔哇")
"""Chinese phrases of one character that may join: any other may be half of a longer word."""
_MARKS = re.compile(
    r"[,;:.!?…]+(?=\s|$)|\s*[，。！？；、：…]+|[,!?](?=[^\W\d])"
    # A dash between numbers may be a minus, or "to".
    r"|(?:[—–]+|(?:^|(?<=\s))-+(?=\s))(?!\s*\d)"
)
_HYPHEN = re.compile(r"(?<=[^\W\d])-(?=[^\W\d])")
_QUOTES = re.compile(r"[¿¡\"«»“”„「」『』]|(?<!\w)['‘]|['’](?!\w)")
_MERIDIEM = re.compile(r"\b([ap])\.\s?m\b\.?", re.IGNORECASE)
# A question that can be told without its mark, by its first word, or in Chinese by any.
_ASKS = {
    "en": re.compile(
        r"(what|what's|who|who's|where|when|how|how's|why|can|could|do|does|did|are|is|may|would)\s"
    ),
    "es": re.compile(r"(qué|cómo|quién|dónde|cuándo|cuánto|cuál|de dónde)\s"),
    "pt": re.compile(r"(que horas|quem|quanto|onde|qual|de onde)\s"),
    "zh": re.compile(r".*[吗么谁几哪呢]"),
}


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that people say."""

    name: str
    forms: Mapping[str, tuple[str, ...]]
    """By language, as the file has them."""
    said: Mapping[str, str]
    """How it is rendered, by language. Lower case as within a sentence, no closing mark but
    that of a question."""
    answer: str = ""
    joins: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    key: str
    mark: str


@dataclass(frozen=True, slots=True)
class _Item:
    """A concept or a figure found in a line, said `times`, with the mark that follows."""

    what: Concept | figures.Figure
    mark: str
    times: int = 1


class Phrases:
    """The table. Raises ValueError where it is not consistent."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self.concepts = tuple(concepts)
        self.languages = frozenset(tag for concept in self.concepts for tag in concept.said)
        self._keys: dict[str, dict[str, Concept]] = {tag: {} for tag in self.languages}
        loose: list[tuple[str, str, Concept]] = []
        for concept in self.concepts:
            if concept.joins and concept.answer == "no":
                raise ValueError(f"{concept.name} refuses, so it must not join")
            for tag, forms in concept.forms.items():
                for form in forms:
                    key = _form_key(form, tag)
                    self._add(key, tag, concept)
                    if key.endswith("?") and tag in _ASKS and _ASKS[tag].match(key):
                        loose.append((key[:-1], tag, concept))
        for key, tag, concept in loose:
            self._keys[tag].setdefault(key, concept)

    def translate(self, text: str, source: str, target: str) -> str | None:
        """The line in `target` (Chinese in simplified characters), or None where the table does
        not hold all of it."""
        a, b = language.base(source), language.base(target)
        if a not in self.languages or b not in self.languages:
            return None
        found = self._read(text, a, b)
        return None if found is None else _write(found, b)

    def inverts(self, original: str, answer: str, source: str, target: str) -> bool:
        """Whether a line that begins with a yes came back beginning with a no, or the other way
        round. Chinese answers a negative question the other way, so there "对，我不去" may be "No,
        I'm not going"."""
        a, b = language.base(source), language.base(target)
        said, rest = self._leading(original, a)
        meant, _ = self._leading(answer, b)
        if not said or not meant or said == meant:
            return False
        denies = re.search("[不没别未]", rest) is not None
        return not (a == "zh" and rest and denies == (said == "yes"))

    # ------------------------------------------------------------------------- inside

    def _add(self, key: str, tag: str, concept: Concept) -> None:
        other = self._keys[tag].setdefault(key, concept)
        if other is not concept:
            raise ValueError(f"{tag} {key!r} is in {other.name} and in {concept.name}")

    def _leading(self, text: str, tag: str) -> tuple[str, str]:
        """The answer that a line begins with, and what follows it."""
        parts = _split(text, tag)
        for count in range(min(len(parts), _PARTS_OF_ONE), 0, -1):
            concept = self._keys.get(tag, {}).get(_join(parts[:count], tag))
            if concept is not None:
                return concept.answer, "".join(part.text for part in parts[count:])
        return "", ""

    def _read(self, text: str, source: str, target: str) -> list[_Item] | None:
        parts = _split(text, source)
        if not parts or len(parts) > _MOST_PARTS:
            return None
        items: list[_Item] = []
        at = 0
        while at < len(parts):
            for count in range(min(len(parts) - at, _PARTS_OF_ONE), 0, -1):
                here = parts[at : at + count]
                if any(part.mark == "?" for part in here[:-1]):
                    continue
                found = self._one(_join(here, source), here, source, target)
                if found:
                    items += found
                    at += count
                    break
            else:
                return None
        return items

    def _one(self, key: str, parts: list[_Part], source: str, target: str) -> list[_Item] | None:
        mark = parts[-1].mark
        concept = self._known(key, source, target)
        if concept is not None:
            return [_Item(concept, mark)]
        if len(parts) > 1 or mark == "?":
            return None
        numbers = figures.read(parts[0].key, source)
        if numbers:
            marks = [","] * (len(numbers) - 1) + [mark]
            return [_Item(number, after) for number, after in zip(numbers, marks, strict=True)]
        units = list(key) if source == "zh" else key.split()
        return self._repeated(units, mark, source, target) or self._joined(
            units, mark, source, target
        )

    def _known(self, key: str, source: str, target: str) -> Concept | None:
        concept = self._keys[source].get(key)
        return concept if concept is not None and target in concept.said else None

    def _repeated(
        self, units: list[str], mark: str, source: str, target: str
    ) -> list[_Item] | None:
        space = "" if source == "zh" else " "
        for size in range(1, len(units) // 2 + 1):
            times, left = divmod(len(units), size)
            if left or units != units[:size] * times:
                continue
            concept = self._known(space.join(units[:size]), source, target)
            if concept is not None:
                return [_Item(concept, mark, times)]
        return None

    def _joined(self, units: list[str], mark: str, source: str, target: str) -> list[_Item] | None:
        if not units:
            return []
        space = "" if source == "zh" else " "
        for size in range(len(units), 0, -1):
            concept = self._known(space.join(units[:size]), source, target)
            if concept is None or not concept.joins:
                continue
            if source == "zh" and size == 1 and units[0] not in _FILLERS:
                continue
            rest = self._joined(units[size:], mark, source, target)
            if rest is not None:
                return [_Item(concept, "," if rest else mark), *rest]
        return None


@cache
def table() -> Phrases:
    """The table that comes with the program."""
    return Phrases(_load())


def _load() -> Iterator[Concept]:
    seen: set[str] = set()
    folder = resources.files("translate") / "data" / "phrases"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".toml"):
            continue
        for name, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
            if name in seen:
                raise ValueError(f"{name} is twice in the phrases")
            seen.add(name)
            yield _concept(name, entry)


def _concept(name: str, entry: Mapping[str, Any]) -> Concept:
    render: dict[str, str] = entry.get("render", {})
    tags = entry.get("only", figures.LANGUAGES)
    forms = {tag: tuple(entry[tag]) for tag in tags}
    said = {tag: render.get(tag) or forms[tag][0] for tag in tags}
    answer = entry.get("answer", "")
    if answer not in ("", "yes", "no"):
        raise ValueError(f"{name} has the answer {answer!r}")
    return Concept(name, forms, said, answer, entry.get("joins", False))


def _write(items: list[_Item], target: str) -> str:
    wide = target == "zh"
    line = ""
    begins = True
    for index, item in enumerate(items):
        said = _say(item, target)
        asks = said.endswith(("?", "？"))
        mark = item.mark
        if index + 1 < len(items):
            mark = mark or ","
        if asks or mark == "?":
            mark = ""
        if begins:
            said = _capital(said)
        if mark == "!" and target == "es":
            said = f"¡{said}"
        line += said + (_WIDE[mark] if wide else mark)
        if index + 1 < len(items) and not wide:
            line += " "
        begins = asks or mark in (".", "!", "…")
    return line


def _say(item: _Item, target: str) -> str:
    if isinstance(item.what, figures.Figure):
        return figures.say(item.what, target)
    said = item.what.said[target]
    space = "" if target == "zh" and len(said) == 1 else "，" if target == "zh" else ", "
    return space.join([said] * min(item.times, _REPEATED))


def _capital(said: str) -> str:
    first = next((at for at, character in enumerate(said) if character.isalnum()), 0)
    return said[:first] + said[first : first + 1].upper() + said[first + 1 :]


def _split(text: str, tag: str) -> list[_Part]:
    """The parts of a line between its punctuation, each with what follows it."""
    if tag == "zh":
        text = language.to_variant(text, "zh")
    text = _MERIDIEM.sub(r"\1m", _QUOTES.sub("", text))
    parts: list[_Part] = []
    at = 0
    for match in [*_MARKS.finditer(text), None]:
        end, after = (match.start(), match.group()) if match else (len(text), "")
        piece = text[at:end].strip()
        at = match.end() if match else end
        if piece:
            parts.append(_Part(piece, _key(piece, tag), _mark(after)))
        elif parts and _mark(after) in ("?", "!"):
            last = parts[-1]
            parts[-1] = _Part(last.text, last.key, _mark(after))
    return parts


def _mark(found: str) -> str:
    found = unicodedata.normalize("NFKC", found.replace("…", "\0")).replace("\0", "…")
    for mark in "?!…":
        if mark in found:
            return mark
    if "..." in found:
        return "…"
    if "." in found or "。" in found:
        return "."
    return "," if found.strip() else ""


def _key(piece: str, tag: str) -> str:
    key = unicodedata.normalize("NFKC", piece).casefold().replace("’", "'")
    key = _HYPHEN.sub(" ", key)
    if tag == "zh":
        return "".join(key.split())
    # "hmmmm" is "hmm". Digits stay.
    return " ".join(re.sub(r"([^\W\d])\1{2,}", r"\1\1", key).split())


def _join(parts: list[_Part], tag: str) -> str:
    key = ("" if tag == "zh" else " ").join(part.key for part in parts)
    return key + "?" if parts[-1].mark == "?" else key


def _form_key(form: str, tag: str) -> str:
    return _join(_split(form, tag), tag)
