"""Names in Redis: one hash tag a room, and nothing but ids gets into them."""

import pytest
from redis.crc import key_slot

from chatroom import ids, keys
from chatroom.errors import RoomNotFound

OF_ROOMS = [
    keys.state,
    keys.events,
    keys.captions,
    keys.caption_order,
    keys.presence,
    keys.lease,
    keys.live,
    keys.media,
]


def test_names_of_a_room_differ_and_share_its_tag() -> None:
    names = {name("abc") for name in OF_ROOMS}
    assert len(names) == len(OF_ROOMS)
    assert all(name.startswith("room:{abc}:") for name in names)
    assert len({key_slot(name.encode()) for name in names}) == 1


def test_status_and_its_channel_lie_on_one_node() -> None:
    assert key_slot(keys.CAPTIONS_STATUS.encode()) == key_slot(keys.STATUS_CHANNEL.encode())


@pytest.mark.parametrize("room", ["", "a}b", "a b", "a\nb", "ü", "x" * 65, "{", "a:b", "a\x00"])
def test_what_is_no_id_is_no_room(room: str) -> None:
    assert not ids.is_room_id(room)
    for name in OF_ROOMS:
        with pytest.raises(RoomNotFound):
            name(room)


def test_new_ids_are_ids_and_differ() -> None:
    made = {ids.new_room_id() for _ in range(100)} | {ids.new_participant_id() for _ in range(100)}
    assert len(made) == 200
    assert all(ids.is_room_id(i) for i in made)
