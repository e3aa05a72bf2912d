"""Ids: their length, their letters, evenly spread."""

from collections import Counter

from chatroom.ids import is_room_id, new_participant_id, new_room_id


def test_ids_are_short_and_readable() -> None:
    assert len(new_room_id()) == 10
    assert len(new_participant_id()) == 12
    assert is_room_id(new_room_id())
    assert new_room_id() != new_room_id()


def test_all_letters_are_as_likely() -> None:
    letters = Counter("".join(new_participant_id() for _ in range(4000)))
    assert len(letters) == 31
    expected = 4000 * 12 / 31
    # Six standard deviations.
    assert all(abs(count - expected) < 6 * expected**0.5 for count in letters.values())


def test_what_can_be_a_room() -> None:
    assert not any(map(is_room_id, ["", "x" * 65, "a b", "a{b}", "é", "a\n"]))
