import random

from hypothesis import given
from hypothesis import strategies as st

from media import opus
from media.packer import MAX_PAYLOAD_BYTES, WAIT_S, Packed, Packer
from media.slots import Frame

CELT_20 = 31 << 3
CELT_10 = 30 << 3


def frame(
    number: int,
    *,
    size: int = 50,
    toc: int = CELT_20,
    run: int = 1,
    marker: bool = False,
    timestamp: int | None = None,
) -> Frame:
    samples = opus.frame_samples(toc)
    at = number * 960 if timestamp is None else timestamp
    payload = bytes((toc,)) + bytes((number & 0xFF,)) * size
    return Frame(number, at, samples, marker, payload, run)


def push(packer: Packer, *frames: Frame) -> list[Packed]:
    return [packed for one in frames for packed in packer.push(one, one.timestamp / 48_000)]


def parts(packed: Packed) -> list[int]:
    """The numbers of the frames inside, as `frame` wrote them."""
    return [one[1] for one in opus.split(packed.payload)]


def test_twenty_milliseconds_pass_through_with_holes_and_late_packets() -> None:
    packer = Packer()
    out = push(packer, frame(7), frame(8), frame(11), frame(10), frame(12))
    assert [packed.index for packed in out] == [0, 1, 4, 3, 5]
    assert out[0].payload == frame(7).payload
    assert packer.deadline() is None


def test_sixty_milliseconds_hold_three_frames_and_count_packets() -> None:
    packer = Packer(2880)
    out = push(packer, *(frame(number) for number in range(6)))
    assert [parts(packed) for packed in out] == [[0, 1, 2], [3, 4, 5]]
    assert [packed.index for packed in out] == [0, 1]
    assert [packed.timestamp for packed in out] == [0, 2880]


def test_ten_millisecond_frames_are_packed_by_time() -> None:
    packer = Packer(2880)
    frames = [frame(number, toc=CELT_10, timestamp=number * 480) for number in range(12)]
    assert [len(parts(packed)) for packed in push(packer, *frames)] == [6, 6]


def test_a_hole_flushes_and_leaves_no_gap_in_the_index() -> None:
    packer = Packer(2880)
    out = push(packer, frame(0), frame(1), frame(3), frame(4), frame(5))
    assert [parts(packed) for packed in out] == [[0, 1], [3, 4, 5]]
    assert [packed.index for packed in out] == [0, 1]


def test_late_frames_are_dropped_when_packed() -> None:
    packer = Packer(2880)
    out = push(packer, frame(0), frame(2), frame(1), frame(3), frame(4))
    assert [parts(packed) for packed in out] == [[0], [2, 3, 4]]


def test_a_change_of_configuration_flushes() -> None:
    packer = Packer(2880)
    out = push(packer, frame(0), frame(1, toc=CELT_20 | 4), frame(2, toc=CELT_20 | 4))
    assert [parts(packed) for packed in out] == [[0]]


def test_a_takeover_flushes_and_keeps_its_marker() -> None:
    packer = Packer(2880)
    out = push(packer, frame(0), frame(1), frame(2, run=2, marker=True), frame(3, run=2))
    out += packer.flush()
    assert [(parts(packed), packed.marker) for packed in out] == [([0, 1], False), ([2, 3], True)]


def test_a_silent_frame_goes_alone_and_at_once() -> None:
    packer = Packer(5760)
    out = push(packer, frame(0), frame(1, size=0))
    assert [packed.payload for packed in out] == [frame(0).payload, bytes((CELT_20,))]


def test_long_packets_pass_through() -> None:
    packer = Packer(5760)
    long = Frame(1, 960, 2880, False, opus.build(CELT_20, [b"abc"] * 3), 1)
    out = push(packer, frame(0), long)
    assert [packed.payload for packed in out] == [frame(0).payload, long.payload]


def test_nothing_waits_longer_than_the_packing_and_a_little() -> None:
    packer = Packer(2880)
    push(packer, frame(0))
    due = packer.deadline()
    assert due == 0.06 + WAIT_S
    assert packer.tick(due - 0.001) == []
    assert [parts(packed) for packed in packer.tick(due)] == [[0]]
    assert packer.deadline() is None


def test_packets_stay_small() -> None:
    packer = Packer(5760)
    out = push(packer, *(frame(number, size=500) for number in range(4)))
    assert all(len(packed.payload) <= MAX_PAYLOAD_BYTES for packed in out)
    assert [parts(packed) for packed in out] == [[0, 1]]


def test_changing_the_packing_leaves_no_gap_and_no_repeat() -> None:
    packer = Packer()
    out = push(packer, frame(0), frame(1))
    out += packer.set_packing(2880)
    out += push(packer, frame(2), frame(3), frame(4), frame(5))
    out += packer.set_packing(960)
    out += push(packer, frame(6), frame(7))
    assert [packed.index for packed in out] == list(range(6))
    assert [part for packed in out for part in parts(packed)] == list(range(8))


def test_late_packets_are_refused_after_closing() -> None:
    packer = Packer()
    push(packer, frame(0), frame(2))
    packer.close_late()
    assert push(packer, frame(1)) == []
    assert [packed.index for packed in push(packer, frame(4), frame(3))] == [4, 3]


@given(st.integers(0, 10_000), st.sampled_from([960, 2880, 5760]))
def test_no_index_is_used_twice(seed: int, packing: int) -> None:
    rng = random.Random(seed)
    packer = Packer(packing)
    numbers = [number for number in range(60) if rng.random() > 0.1]
    numbers.sort(key=lambda number: number + rng.random() * 3)
    out: list[Packed] = []
    run = 1
    floor = 0
    for number in numbers:
        if rng.random() < 0.05:
            run += 1
            floor = number
        if rng.random() < 0.05:
            out += packer.set_packing(rng.choice([960, 2880, 5760]))
        if number >= floor:
            out += push(packer, frame(number, run=run))
    out += packer.flush()
    indices = [packed.index for packed in out]
    assert len(set(indices)) == len(indices)
    assert not indices or max(indices) == packer.next_index - 1
