"""Language tags and the looks of a text: base language, Chinese scripts, and whether an answer
can be a translation at all. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

_TRADITIONAL = {"hant", "tw", "hk", "mo"}

NAMES = {
    "ar": "Arabic",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""English names of the languages that messages to operators and prompts speak of."""

# The scripts a language is written in, as the first word of the Unicode names of its letters.
_SCRIPTS = {
    "ar": {"ARABIC"},
    "bg": {"CYRILLIC"},
    "el": {"GREEK"},
    "fa": {"ARABIC"},
    "he": {"HEBREW"},
    "hi": {"DEVANAGARI"},
    "ja": {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
    "ko": {"HANGUL", "CJK"},
    "ru": {"CYRILLIC"},
    "th": {"THAI"},
    "uk": {"CYRILLIC"},
    "ur": {"ARABIC"},
    "zh": {"CJK"},
}

# Letters that say as much as one of an alphabet's words do: a Chinese line has about a third of
# the letters of an English one.
_DENSE = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "KATAKANA-HIRAGANA"}
_DENSITY = 3.0

_SHORT = 18.0
"""Lines up to this weight are short."""
# Questions for something that is not known. "Could you …?" may well become "Please …".
_WHAT = re.compile(
    r"^¿?(what|who|where|when|why|how|which|qué|quién|dónde|cuándo|cuánt|cómo|cuál|"
    r"o que|que|quem|onde|quando|quanto|como|qual)|[谁哪几]|什么|多少|怎么",
    re.IGNORECASE,
)
_REMARK = re.compile(r"[(（\[【]")

# What a model says when it speaks for itself. Narrow on purpose: people say that they are sorry.
_LEAKS = re.compile(
    r"^(as an ai\b|(i'm sorry, |sorry, )?(but )?i (can't|cannot|can not|am unable to) "
    r"(assist|help|comply|fulfil)|here('s| is) (the|a|your) (translation|poem|code|story)|"
    r"translation:|```|"
    r"作为一?[个名款]?(ai|人工智能|语言模型)|(抱歉|对不起)，(但)?我(无法|不能)(回答|协助|提供|满足|帮)|"
    r"(以下|这)是(翻译|译文)|(翻译|译文)[:：]|"
    r"como (una? )?(ia|inteligencia artificial|modelo de lenguaje)\b|"
    r"lo siento, (pero )?no puedo (ayudar|responder))",
    re.IGNORECASE,
)


def base(tag: str) -> str:
    """The language without script and region: "zh-Hant-TW" → "zh"."""
    return tag.split("-", 1)[0].lower()


def name(tag: str) -> str:
    """The English name, or the tag where it has none here."""
    return NAMES.get(base(tag), tag)


def is_traditional(tag: str) -> bool:
    """Whether a Chinese tag asks for traditional characters."""
    parts = [part.lower() for part in tag.split("-")]
    return parts[0] == "zh" and "hans" not in parts and not _TRADITIONAL.isdisjoint(parts)


def same_text(source: str, target: str) -> bool:
    """Whether a text in `source` can be shown as it is, or with its characters converted, to
    a reader of `target`."""
    return base(source) == base(target)


def to_variant(text: str, tag: str) -> str:
    """Chinese text in the characters of the tag (simplified unless it says otherwise); other
    languages come back as they are."""
    if base(tag) != "zh" or not text:
        return text
    converted: str = _converter("s2t" if is_traditional(tag) else "t2s").convert(text)
    return converted


@cache
def _converter(direction: str) -> Any:
    from opencc import OpenCC

    return OpenCC(direction)


def scripts(text: str) -> dict[str, int]:
    """How many letters of each script are in a text."""
    found: dict[str, int] = {}
    for character in text:
        if character.isalpha():
            script = unicodedata.name(character, "OTHER").split(" ", 1)[0]
            found[script] = found.get(script, 0) + 1
    return found


def weight(text: str) -> float:
    """Roughly how much a text says, in letters of an alphabet."""
    found = scripts(text)
    digits = sum(character.isdigit() for character in text)
    return digits + sum(
        count * (_DENSITY if script in _DENSE else 1.0) for script, count in found.items()
    )


def why_not_translation(original: str, answer: str, target: str, *, strict: bool) -> str | None:
    """Why `answer` cannot be a translation of `original` into `target`, or None.

    Every engine's answer must be there, in the script of the target, without remarks, and not run
    away in repetitions or, for a short line, in what nobody said. A language model's (`strict`)
    must also be about as long as the original, leave a question a question, and must not be
    something that it says instead of translating.
    """
    if not answer.strip():
        return "the answer is empty"
    said, meant = weight(answer), weight(original)
    if meant and not said:
        return "the answer has no words"
    if wrong := _wrong_script(original, answer, target):
        return wrong
    if said > 40 and _repeats(answer) and not _repeats(original):
        return "the answer repeats itself"
    if _REMARK.search(answer) and not _REMARK.search(original):
        return "the answer has a remark of its own"
    if _untranslated(original, answer, target):
        return "the answer is the original"
    if 0 < meant <= _SHORT and said > _short_limit(original, answer, meant):
        return "the answer is far longer than what was said"
    if said > (3.0 if strict else 6.0) * meant + 24:
        return "the answer is far longer than what was said"
    if not strict:
        return None
    if _asks(original) and _WHAT.search(original) and not _asks(answer):
        return "the answer to a question is no question"
    if meant > 24 and said < 0.2 * meant:
        return "the answer is far shorter than what was said"
    if _LEAKS.match(answer.strip()) and not _LEAKS.match(original.strip()):
        return "the model speaks for itself"
    if base(target) != "zh" and "\n" in answer.strip():
        return "the answer has several lines"
    return None


def _short_limit(original: str, answer: str, meant: float) -> float:
    """How much a short line's translation may say. On 1,236 short lines of Firefox's English and
    Portuguese no right answer went beyond 1.71 times the weight and four, and nothing beyond was
    right. Chinese letters are weighed roughly; an abbreviation may become a clause."""
    if original.isupper() and meant <= 6 and original.isascii():
        return 40.0
    dense = not _DENSE.isdisjoint(scripts(original + answer))
    return (2.2 if dense else 1.75) * (meant + 4)


def _untranslated(original: str, answer: str, target: str) -> bool:
    """Whether the answer is the original and more than names: a name has a capital or a digit,
    and many a short word is the same in two languages."""
    if answer.strip().casefold() != original.strip().casefold():
        return False
    names = [word for word in original.split()[1:] if word != word.lower()]
    common = len(original.split()) - 1 - len(names)
    return common >= (2 if base(target) not in _SCRIPTS else 1) and weight(original) >= 8


def _asks(text: str) -> bool:
    return text.rstrip("\"'”’」 ").endswith(("?", "？"))


def _wrong_script(original: str, answer: str, target: str) -> str | None:
    found = scripts(answer)
    total = sum(found.values())
    if not total:
        return None
    allowed = _SCRIPTS.get(base(target), {"LATIN"})
    inside = sum(found.get(script, 0) for script in allowed)
    # Names and terms may stay as they were said, so the scripts of the original count half.
    kept = sum(count for script, count in found.items() if script not in allowed)
    if found.keys() == {"LATIN"} and total <= 12 and len(answer.split()) <= 2:
        return None  # a name, a brand: "WebRTC" stays "WebRTC"
    dense = allowed <= _DENSE
    share = inside * (_DENSITY if dense else 1.0)
    if share < 0.5 * (share + kept * (1.0 if dense else _DENSITY)):
        return "the answer is not in the language asked for"
    return None


def _repeats(text: str) -> bool:
    """Whether one run of characters fills most of a text."""
    squeezed = re.sub(r"\s+", " ", text.strip())
    match = re.search(r"(.{2,40}?)\1{3,}", squeezed)
    return match is not None and len(match.group(0)) > 0.5 * len(squeezed)
