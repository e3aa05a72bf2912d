"""Who sees what of an event, and that equal views are encoded once."""

import json
from dataclasses import dataclass

import msgspec

from chatroom.protocol import (
    Caption,
    CaptionPosted,
    Envelope,
    Event,
    Hand,
    HandsChanged,
    InvitationAnswered,
    Invited,
    Presence,
    Removed,
    StageChanged,
)
from chatroom.roles import Role
from signaling.views import Fanout, cursor_key, is_transient, seen_by, text_frame

CAPTION = Caption(
    utterance="u1",
    participant="ana",
    name="Ana",
    revision=3,
    final=True,
    language="pt",
    text="bom dia",
    start_ms=0,
    end_ms=900,
    translations={"en": "good morning", "zh": "早上好"},
    untranslated={"fr": "language_unavailable"},
)


@dataclass(frozen=True)
class Someone:
    participant: str = "someone"
    role: Role = Role.LISTENER
    captions: str | None = None


def payload(frame: bytes | None) -> dict[str, object]:
    assert frame is not None
    assert frame[0] == 0x81
    offset = {126: 4, 127: 10}.get(frame[1], 2)
    decoded: dict[str, object] = json.loads(frame[offset:])
    return decoded


def test_a_caption_has_the_readers_language_alone() -> None:
    for language, there, missing in [
        ("en", {"en": "good morning"}, {}),
        ("fr", {}, {"fr": "language_unavailable"}),
        (None, {}, {}),
    ]:
        seen = seen_by(CaptionPosted(CAPTION), Someone(captions=language))
        assert isinstance(seen, CaptionPosted)
        assert (seen.caption.translations, seen.caption.untranslated) == (there, missing)
        assert seen.caption.text == "bom dia"


def test_readers_of_one_language_get_the_same_bytes() -> None:
    fanout = Fanout(CaptionPosted(CAPTION), "5-0")
    frames = [fanout.frame(Someone(str(n), captions=("en", "zh", None)[n % 3])) for n in range(999)]
    assert fanout.encoded == 3
    assert len({id(frame) for frame in frames}) == 3
    assert payload(frames[0])["id"] == "5-0"


HANDS = HandsChanged([Hand("a", "A", "en", 1), Hand("b", "B", "en", 2)], 2)


def test_hands_are_whole_for_keepers_only() -> None:
    def hands(who: str, role: Role) -> tuple[list[str], int]:
        seen = seen_by(HANDS, Someone(who, role))
        assert isinstance(seen, HandsChanged)
        return [hand.participant for hand in seen.hands], seen.total

    assert hands("h", Role.HOST) == (["a", "b"], 2)
    assert hands("h", Role.COHOST) == (["a", "b"], 2)
    assert hands("a", Role.LISTENER) == (["a"], 2)
    assert hands("s", Role.SPEAKER) == ([], 2)
    fanout = Fanout(HANDS, None)
    for who in "abcdefgh":
        fanout.frame(Someone(who))
    assert fanout.encoded == 3


def test_what_concerns_one_person() -> None:
    events: list[Event] = [
        Invited("a", "A"),
        InvitationAnswered("a", "A", True),
        Removed("a", "A", "noise"),
    ]
    for event in events:
        assert seen_by(event, Someone("a")) == event
        assert seen_by(event, Someone("h", Role.HOST)) == event
        assert seen_by(event, Someone("b", Role.SPEAKER)) is None
        assert Fanout(event, "1-0").frame(Someone("b")) is None


def test_what_may_be_left_out() -> None:
    assert is_transient(Presence(3))
    assert is_transient(CaptionPosted(msgspec.structs.replace(CAPTION, final=False)))
    assert not is_transient(CaptionPosted(CAPTION))
    assert not is_transient(StageChanged([]))


def test_frames_of_every_length() -> None:
    for size in (0, 1, 125, 126, 65535, 65536):
        frame = text_frame(b"x" * size)
        assert frame[0] == 0x81
        assert frame[1] < 128
        assert len(frame) == size + (2 if size < 126 else 4 if size < 65536 else 10)


def test_the_envelope_is_the_one_of_the_protocol() -> None:
    frame = Fanout(Presence(7), None).frame(Someone())
    assert frame is not None
    envelope = msgspec.json.decode(frame[2:], type=Envelope)
    assert envelope == Envelope(m=Presence(7))


def test_cursors_in_order() -> None:
    assert cursor_key("9-5") < cursor_key("10-0") < cursor_key("10-1") < cursor_key("10-10")
