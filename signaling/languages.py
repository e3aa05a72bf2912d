"""Names of languages: in English and in the language itself. Pure."""

from __future__ import annotations

import msgspec

from chatroom.protocol import CaptionsStatus, Record

_TABLE = """
ar Arabic العربية
bg Bulgarian Български
bn Bangla বাংলা
ca Catalan Català
cs Czech Čeština
da Danish Dansk
de German Deutsch
el Greek Ελληνικά
en English English
es Spanish Español
et Estonian Eesti
eu Basque Euskara
fa Persian فارسی
fi Finnish Suomi
fr French Français
gl Galician Galego
gu Gujarati ગુજરાતી
he Hebrew עברית
hi Hindi हिन्दी
hr Croatian Hrvatski
hu Hungarian Magyar
id Indonesian Indonesia
is Icelandic Íslenska
it Italian Italiano
ja Japanese 日本語
ko Korean 한국어
lt Lithuanian Lietuvių
lv Latvian Latviešu
ms Malay Melayu
nb Norwegian_Bokmål Norsk_bokmål
nl Dutch Nederlands
nn Norwegian_Nynorsk Norsk_nynorsk
pl Polish Polski
pt Portuguese Português
ro Romanian Română
ru Russian Русский
sk Slovak Slovenčina
sl Slovenian Slovenščina
sq Albanian Shqip
sr Serbian Српски
sv Swedish Svenska
sw Swahili Kiswahili
ta Tamil தமிழ்
te Telugu తెలుగు
th Thai ไทย
tl Filipino Filipino
tr Turkish Türkçe
uk Ukrainian Українська
ur Urdu اردو
vi Vietnamese Tiếng_Việt
zh Chinese 中文
zh-Hans Chinese_(Simplified) 简体中文
zh-Hant Chinese_(Traditional) 繁體中文
"""

NAMES: dict[str, tuple[str, str]] = {
    code: (english.replace("_", " "), own.replace("_", " "))
    for code, english, own in (line.split() for line in _TABLE.strip().splitlines())
}
"""Language code to its English and its own name."""


class LanguageInfo(Record, frozen=True):
    """One entry of `GET /api/languages`."""

    code: str
    name: str
    """In English; the code itself where no name is known."""
    endonym: str
    recognised: bool
    """Whether speech in it gets captions now."""
    translated_from: list[str]
    """Languages that can be read in it now."""


class Languages(Record, frozen=True):
    """Answer of `GET /api/languages`: languages that can be used now first, then by code."""

    languages: list[LanguageInfo]
    captions_status: CaptionsStatus


RECORDS: tuple[type[Record], ...] = (LanguageInfo, Languages)


def languages(status: CaptionsStatus) -> Languages:
    """Every language that has a name or a model."""
    sources: dict[str, list[str]] = {}
    for source, target in map(split_pair, status.pairs):
        sources.setdefault(target, []).append(source)
    codes = NAMES.keys() | set(status.recognises) | sources.keys()
    listed = [
        LanguageInfo(
            code=code,
            name=NAMES.get(code, (code, code))[0],
            endonym=NAMES.get(code, (code, code))[1],
            recognised=code in status.recognises,
            translated_from=sorted(sources.get(code, [])),
        )
        for code in codes
    ]
    listed.sort(key=lambda each: (not (each.recognised or each.translated_from), each.code))
    return Languages(languages=listed, captions_status=status)


def split_pair(pair: str) -> tuple[str, str]:
    """Source and target of a pair such as "en-zh" or "en-zh-Hans": the source has no subtag."""
    source, _, target = pair.partition("-")
    return source, target


def readable(status: CaptionsStatus, spoken: list[str], language: str) -> bool:
    """Whether captions in `language` can be had in a room where `spoken` are spoken: because it
    is spoken itself, or something spoken is translated into it. True while nobody knows yet (the
    models are being fetched or loaded, or captions are off altogether)."""
    if status.state not in ("ready", "degraded"):
        return True
    if language in spoken:
        return True
    pairs = set(map(split_pair, status.pairs))
    return any((source, language) in pairs for source in spoken)


def encode(answer: Languages) -> bytes:
    return msgspec.json.encode(answer)
