"""Names of languages, and which captions can be read."""

from chatroom.protocol import CaptionsStatus
from signaling.languages import NAMES, languages, readable, split_pair

READY = CaptionsStatus("ready", pairs=["en-pt", "pt-en", "en-zh-Hans"], recognises=["en", "pt"])


def test_what_can_be_used_comes_first() -> None:
    listed = languages(READY).languages
    usable = [each for each in listed if each.recognised or each.translated_from]
    assert listed[: len(usable)] == usable
    assert [each.code for each in usable] == ["en", "pt", "zh-Hans"]
    assert usable[2].translated_from == ["en"]
    assert usable[1].endonym == "Português"


def test_a_language_without_a_name() -> None:
    listed = languages(CaptionsStatus("ready", recognises=["tlh"])).languages
    assert listed[0].name == listed[0].endonym == listed[0].code == "tlh"


def test_a_pair() -> None:
    assert split_pair("en-zh-Hans") == ("en", "zh-Hans")


def test_readable() -> None:
    assert readable(READY, ["en"], "en")
    assert readable(READY, ["en"], "zh-Hans")
    assert not readable(READY, ["pt"], "zh-Hans")
    assert not readable(READY, ["en"], "fr")
    assert readable(CaptionsStatus("loading"), ["en"], "fr")


def test_every_name_is_whole() -> None:
    assert len(NAMES) > 40
    assert all(english and own and "_" not in english + own for english, own in NAMES.values())
