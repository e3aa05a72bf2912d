"""What was said, as files: read back as players read them, and over HTTP."""

import html
import json
import re
from typing import Any

import aiohttp
import msgspec
import pytest

from chatroom.errors import LanguageUnavailable
from chatroom.protocol import Caption
from signaling.app import Server
from signaling.problems import STATUS
from signaling.transcript import FORMATS, Transcript, file_name, lines_of, srt, txt, vtt
from tests.signaling.client import Client, Person


def caption(number: int, text: str, language: str = "en", **fields: Any) -> Caption:
    base = Caption(
        utterance=f"u-{number}",
        participant="p1",
        name="Rui",
        revision=3,
        final=True,
        language=language,
        text=text,
        start_ms=1000 * number,
        end_ms=1000 * number + 900,
    )
    return msgspec.structs.replace(base, **fields)


def transcript(captions: list[Caption], language: str | None, both: bool = False) -> Transcript:
    return Transcript("room1", "Talk", 1.0, language, lines_of(captions, language, both))


SAID = [
    caption(3_725, "Good bye.", translations={"pt": "Adeus."}),
    caption(1, "Hello everyone.", translations={"pt": "Olá a todos."}),
    caption(2, "¿Y tú?", "es", name="Ana"),
    caption(3, "Tudo bem.", "pt", name="Zé"),
]

CUE = re.compile(
    r"(?:(?P<id>.+)\n)?(?P<start>[\d:.,]+) --> (?P<end>[\d:.,]+)\n(?P<text>(?:.+\n?)+)"
)


def cues(document: str) -> list[dict[str, str]]:
    """The blocks between empty lines that have times, as WebVTT and SubRip parsers see them."""
    return [
        found.groupdict()
        for block in re.split(r"\n{2,}", document)
        if (found := CUE.fullmatch(block.strip("\n") + "\n"))
    ]


def milliseconds(time: str) -> int:
    hours, minutes, seconds = time.replace(",", ".").split(":")
    return round(1000 * (3600 * int(hours) + 60 * int(minutes) + float(seconds)))


def voice(text: str) -> tuple[str, str]:
    """Speaker and words of a WebVTT cue, without its tags."""
    found = re.fullmatch(r"<v ([^>]*)>(.*)</v>", text.strip(), re.DOTALL)
    assert found is not None, text
    return html.unescape(found[1]), html.unescape(re.sub(r"<[^>]*>", "", found[2]))


def test_webvtt_is_read_back() -> None:
    document = vtt(transcript(SAID, "pt"))
    assert document.startswith("WEBVTT\n\n")
    read = cues(document)
    assert [cue["id"] for cue in read] == ["u-1", "u-2", "u-3", "u-3725"]
    assert [voice(cue["text"]) for cue in read] == [
        ("Rui", "Olá a todos."),
        ("Ana", "[es] ¿Y tú?"),
        ("Zé", "Tudo bem."),
        ("Rui", "Adeus."),
    ]
    assert [(milliseconds(c["start"]), milliseconds(c["end"])) for c in read] == [
        (1_000, 1_900),
        (2_000, 2_900),
        (3_000, 3_900),
        (3_725_000, 3_725_900),
    ]
    assert "<lang pt>Olá" in document
    assert "<lang es>[es]" in document


def test_subrip_is_read_back() -> None:
    read = cues(srt(transcript(SAID, None)))
    assert [cue["id"] for cue in read] == ["1", "2", "3", "4"]
    assert [cue["text"].strip() for cue in read] == [
        "Rui: Hello everyone.",
        "Ana: ¿Y tú?",
        "Zé: Tudo bem.",
        "Rui: Good bye.",
    ]
    assert (read[3]["start"], read[3]["end"]) == ("01:02:05,000", "01:02:05,900")


def test_both_languages_side_by_side() -> None:
    (first, second, *_) = cues(vtt(transcript(SAID, "pt", both=True)))
    assert voice(first["text"]) == ("Rui", "Olá a todos.\nHello everyone.")
    assert voice(second["text"]) == ("Ana", "[es] ¿Y tú?")
    assert cues(srt(transcript(SAID, "pt", both=True)))[0]["text"] == (
        "Rui: Olá a todos.\nHello everyone.\n"
    )
    assert txt(transcript(SAID, "pt", both=True)).splitlines()[:3] == [
        "[00:00:01] Rui: Olá a todos.",
        "           Hello everyone.",
        "[00:00:02] Ana: [es] ¿Y tú?",
    ]


@pytest.mark.parametrize(
    "nasty",
    [
        "a --> b",
        "00:00:01.000 --> 00:00:02.000",
        "</v><b>bold</b> & <i>",
        "one\n\ntwo\r\n\r\nWEBVTT",
        "&lt;v Mallory&gt;",
        "NOTE nothing",
        "line\u2028separator\x85next",
    ],
)
def test_nothing_that_is_said_or_a_name_breaks_a_file(nasty: str) -> None:
    said = [caption(1, nasty, name=nasty), caption(2, "After.")]
    plain = " ".join(nasty.split())
    read = cues(vtt(transcript(said, None)))
    assert [voice(cue["text"]) for cue in read] == [(plain, plain), ("Rui", "After.")]
    assert "-->" not in read[0]["text"]
    assert [c["text"].strip() for c in cues(srt(transcript(said, None)))] == [
        f"{plain}: {plain}",
        "Rui: After.",
    ]


def test_a_cue_takes_time_and_an_empty_line_is_left_out() -> None:
    lines = lines_of([caption(1, "Hm.", end_ms=1000), caption(2, "")], None)
    assert [(line.start_ms, line.end_ms) for line in lines] == [(1000, 1001)]


def test_chinese_characters_count_as_another_language() -> None:
    said = [caption(1, "欢迎", "zh", translations={"zh-Hant": "歡迎"}), caption(2, "好", "zh")]
    assert [(x.text, x.untranslated) for x in lines_of(said, "zh-Hant")] == [
        ("歡迎", False),
        ("好", True),
    ]
    assert [(x.text, x.untranslated) for x in lines_of(said, "zh-Hans")] == [
        ("欢迎", False),
        ("好", False),
    ]


def test_a_language_that_nothing_is_in() -> None:
    with pytest.raises(LanguageUnavailable, match=r"'ja'.*en, es, pt"):
        lines_of(SAID, "ja")
    assert lines_of([], "ja") == []


# -------------------------------------------------------------------------------- HTTP


async def fetch(person: Person, query: str) -> aiohttp.ClientResponse:
    url = f"{person.client.url}/api/rooms/{person.room}/captions{query}"
    return await person.client.session.get(url, headers=person.auth)


@pytest.fixture
async def host(client: Client, server: Server) -> Person:
    host = await client.create()
    for said in SAID:
        await server.context.store.post_caption(host.room, said)
    return host


async def test_every_format_over_http(client: Client, host: Person) -> None:
    listener = await client.join(host.room)
    for name, (write, content_type) in FORMATS.items():
        reply = await fetch(listener, f"?lang=pt&format={name}&both=1")
        body = await reply.text()
        assert (reply.status, reply.content_type, reply.charset) == (200, content_type, "utf-8")
        assert reply.headers["Cache-Control"] == "no-store"
        named = f'filename="captions-{host.room}-pt.{name}"'
        assert named in reply.headers["Content-Disposition"]
        if name == "json":
            told = msgspec.json.decode(body, type=Transcript)
            assert [line.original for line in told.lines] == [
                "Hello everyone.",
                None,
                None,
                "Good bye.",
            ]
        else:
            assert body == write(transcript(SAID, "pt", both=True))
    original = json.loads(await (await fetch(listener, "")).text())
    assert original["language"] is None
    assert [line["text"] for line in original["lines"]][1:3] == ["¿Y tú?", "Tudo bem."]
    assert file_name(Transcript("r", "t", 0.0, None, []), "srt") == "captions-r.srt"


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ("?lang=Portuguese", "bad_message", "lang is a language code"),
        ("?format=pdf", "bad_message", "vtt, srt, txt, json"),
        ("?both=perhaps", "bad_message", "both is"),
        ("?lang=ja", "language_unavailable", "There is: en, es, pt."),
    ],
)
async def test_what_cannot_be_had_is_said(host: Person, query: str, code: str, says: str) -> None:
    reply = await fetch(host, query)
    problem = await reply.json(content_type=None)
    assert (reply.status, problem["code"]) == (STATUS[code], code)
    assert says in problem["detail"]


async def test_who_may_read_what_was_said(client: Client, host: Person) -> None:
    url = f"{client.url}/api/rooms/{host.room}/captions"
    assert (await client.session.get(url)).status == 401
    other = await client.create()
    assert (await client.session.get(url, headers=other.auth)).status == 403
    listener = await client.join(host.room)
    await host.command("remove", participant=listener.id)
    assert (await client.session.get(url, headers=listener.auth)).status == 403
    # What was said is there as long as the ended room is.
    await host.command("end_room")
    assert (await fetch(host, "?format=vtt")).status == 200
