"""The bus: what goes in comes out, and whatever else comes in is BadMessage and nothing else."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatroom import bus
from chatroom.bus import FrameBatch, MediaFrame, SpeakerChanged
from chatroom.errors import BadMessage
from chatroom.protocol import (
    EVENTS,
    MAX_NAME,
    Caption,
    CaptionPosted,
    CaptionsStatus,
    CaptionsStatusChanged,
    Event,
    Hand,
    HandsChanged,
    InvitationAnswered,
    Invited,
    Presence,
    Removed,
    RoomOver,
    StageChanged,
    StageMember,
    Talking,
    type_of,
)
from chatroom.room_settings import RoomSettings
from chatroom.settings import setting_info

FRAME = MediaFrame("node", "ann", 70_000, 1 << 40, 1_700_000_000_000, 30, b"\x78abc")


MEMBER = StageMember("ann", "Ann 安", "speaker", "zh", muted=True)
CAPTION = Caption("u", "ann", "Ann", 2, True, "en", "Hi", 0, 9, {"zh": "嗨"}, {"eo": "x"})
EXAMPLES: list[Event] = [
    StageChanged([MEMBER, StageMember("h", "H", "host", "en")]),
    HandsChanged([Hand("a", "A", "en", 5, invited=True)], 1),
    Invited("a", "Ann"),
    InvitationAnswered("a", "Ann", True),
    Removed("a", "Ann", "rude"),
    CaptionPosted(CAPTION),
    Talking(["a", None]),
    Presence(30_000),
    CaptionsStatusChanged(CaptionsStatus("fetching", "…", 0.5, 20, ["en-zh"], ["en"])),
    RoomOver("ended"),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=type_of)
def test_every_event_comes_back(event: Event) -> None:
    assert bus.decode_event(bus.encode_event(event)) == (None, event)


def test_events_one_after_the_other() -> None:
    data = b"".join(map(bus.encode_event, EXAMPLES))
    assert bus.decode_events(data) == EXAMPLES
    assert bus.decode_events(b"") == []
    for damaged in (data[:-1], data + b"\x93", data + b"\xc1"):
        with pytest.raises(BadMessage):
            bus.decode_events(damaged)


def test_no_event_is_forgotten_above() -> None:
    assert {type(event) for event in EXAMPLES} == set(EVENTS)


def test_form_is_version_type_payload() -> None:
    assert msgpack.unpackb(bus.encode_event(Presence(3))) == [1, "presence", {"listeners": 3}]


def test_stored_events_carry_their_cursor() -> None:
    """As the store's scripts write it: the body between an array head and a str 8."""
    cursor = b"1700000000000-0"
    body = bus.encode_event_body(Invited("a", "Ann"))
    message = b"\x94" + body + b"\xd9" + bytes([len(cursor)]) + cursor
    assert bus.decode_event(message) == (cursor.decode(), Invited("a", "Ann"))
    assert bus.encode_event(Invited("a", "Ann")) == b"\x93" + body


frames = st.builds(
    MediaFrame,
    node=st.text(max_size=20),
    participant=st.text(max_size=32),
    sequence=st.integers(0, 2**48),
    timestamp=st.integers(0, 2**60),
    received_ms=st.integers(0, 2**50),
    level_dbov=st.integers(0, 127),
    payload=st.binary(max_size=1275),
)


@given(st.lists(frames, max_size=5))
def test_frames_come_back(batch: list[MediaFrame]) -> None:
    assert bus.decode_media(bus.encode_media(batch)) == FrameBatch(batch)
    assert bus.encode_media(FrameBatch(batch)) == bus.encode_media(batch)


def test_speaker_notes_come_back() -> None:
    note = SpeakerChanged("ann", "Ann", "zh", True, False)
    assert bus.decode_media(bus.encode_media(note)) == note


def test_a_frame_weighs_little_more_than_its_sound() -> None:
    one, two = (len(bus.encode_media([FRAME] * n)) for n in (1, 2))
    assert two - one < len(FRAME.payload) + 45


def test_batches_are_bounded() -> None:
    with pytest.raises(ValueError, match="at most 512"):
        bus.encode_media([FRAME] * 513)


def row(**changes: Any) -> list[Any]:
    values = {name: getattr(FRAME, name) for name in FRAME.__struct_fields__} | changes
    return list(values.values())


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [1],
        [1, "presence"],
        [1, "presence", None],
        [1, "presence", []],
        [1, "presence", {}],
        [1, "presence", {"listeners": "3"}],
        [1, "presence", {"listeners": 3, "more": 1}],
        [1, "presence", {"listeners": 3}, 7],
        [1, "presence", {"listeners": 3}, "1-0", "x"],
        [1, "ping", {"t": 0.0}],
        [1, "no such type", {}],
        [2, "presence", {"listeners": 3}],
        [True, "presence", {"listeners": 3}],
        ["1", "presence", {"listeners": 3}],
        {"type": "presence", "listeners": 3},
        [1, "presence", {1: 3}],
    ],
)
def test_no_event(value: Any) -> None:
    with pytest.raises(BadMessage):
        bus.decode_event(msgpack.packb(value))


@pytest.mark.parametrize(
    "value",
    [
        [1, "presence", {"listeners": 3}],
        [1, "frames", {}],
        [1, "frames", [[]]],
        [1, "frames", [row()[:-1]]],
        [1, "frames", [row(level_dbov=128)]],
        [1, "frames", [row(level_dbov=-1)]],
        [1, "frames", [row(sequence=-1)]],
        [1, "frames", [row(payload=bytes(1501))]],
        [1, "frames", [row(payload="text")]],
        [1, "frames", [row(participant=b"bytes")]],
        [1, "frames", [row()] * 513],
        [1, "speaker", {"participant": "a"}],
        [1, "speaker", None],
        [9, "frames", []],
    ],
)
def test_no_media(value: Any) -> None:
    with pytest.raises(BadMessage):
        bus.decode_media(msgpack.packb(value))


def test_unknown_version_says_which_is_known() -> None:
    with pytest.raises(BadMessage, match="version 2 is not known"):
        bus.decode_event(msgpack.packb([2, "presence", {"listeners": 3}]))


def test_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadMessage, match="at most"):
        bus.unpack(bytes(bus.MAX_MESSAGE_BYTES + 1))


def test_the_largest_that_settings_allow_fits() -> None:
    hand = Hand("p" * 32, "\U0001f600" * MAX_NAME, "zh-Hant-x-longest-tag", 2**40, invited=True)
    limit = setting_info(RoomSettings.__dataclass_fields__["hands_limit"]).maximum
    assert limit is not None
    hands = HandsChanged([hand] * int(limit), int(limit))
    assert bus.decode_event(bus.encode_event(hands)) == (None, hands)
    frame = MediaFrame("n" * 40, "p" * 32, 2**48, 2**60, 2**50, 127, bytes(1500))
    batch = FrameBatch([frame] * bus.MAX_FRAMES)
    assert bus.decode_media(bus.encode_media(batch)) == batch


def test_lying_lengths_take_no_memory() -> None:
    for head in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(BadMessage):
            bus.unpack(head + b"\x01")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    # Names that mean something here, so that the search gets past the first door.
    | st.sampled_from([1, "frames", "speaker", "stage", "caption", "type", "hands"])
    | st.binary(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(st.binary(max_size=300) | anything.map(msgpack.packb))
@example(b"")
@example(b"\xc1")
@example(b"\x91" * 2000)
@example(b"\xd6\xff" + bytes(4))
@example(msgpack.packb([1, "hands", {"hands": [{"raised_ms": 2**64 - 1}], "total": 0}]))
def test_garbage_is_bad_message(data: bytes) -> None:
    for decode in (bus.decode_event, bus.decode_events, bus.decode_media):
        with contextlib.suppress(BadMessage):
            decode(data)


@given(data=st.data())
def test_damaged_messages_are_bad_message(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from(
            [
                bus.encode_event(CaptionPosted(CAPTION)),
                bus.encode_event(Talking(["a", None])),
                bus.encode_event(HandsChanged([], 0)),
                bus.encode_media([FRAME, FRAME]),
            ]
        )
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
    for decode in (bus.decode_event, bus.decode_events, bus.decode_media):
        with contextlib.suppress(BadMessage):
            decode(damaged)


def test_speaker_changes_tell_of_who_came_went_and_changed() -> None:
    ann, ben = StageMember("ann", "Ann", "speaker", "zh"), StageMember("ben", "Ben", "host", "en")
    muted = StageMember("ann", "Ann", "speaker", "zh", muted=True, connected=True)
    assert bus.speaker_changes([ben], [ben, ann]) == [
        SpeakerChanged("ann", "Ann", "zh", False, False)
    ]
    assert bus.speaker_changes([ann, ben], [muted, ben]) == [
        SpeakerChanged("ann", "Ann", "zh", True, True)
    ]
    assert bus.speaker_changes([muted, ben], [ben]) == [
        SpeakerChanged("ann", "Ann", "zh", True, False, on_stage=False)
    ]
    assert bus.speaker_changes([ann], [ann]) == []
