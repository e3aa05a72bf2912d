import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from media.slots import IDLE_EVERY_S, IDLE_FOR_S, MAX_GAP, Frame, Slot, SpeakerSelector, Tuning

LOUD, SPEECH, SILENT = 100.0, 85.0, 10.0


def talk(
    selector: SpeakerSelector, levels: dict[str, float], start: float, seconds: float
) -> float:
    """Everybody in `levels` sends a packet every 20 ms; returns the end."""
    steps = round(seconds / 0.02)
    for step in range(steps):
        for source, loudness in levels.items():
            selector.hear(source, loudness, start + step * 0.02)
    return start + steps * 0.02


def test_speech_takes_a_free_slot_at_once_and_silence_takes_none() -> None:
    selector = SpeakerSelector(3)
    assert not selector.hear("a", SILENT, 0.0)
    assert selector.hear("b", SPEECH, 0.0)
    assert selector.sources == ("b", None, None)
    assert not selector.hear("b", SPEECH, 0.02)


def test_a_speaker_keeps_the_same_slot_through_short_silence() -> None:
    selector = SpeakerSelector(2)
    now = talk(selector, {"a": SPEECH, "b": SPEECH}, 0, 1)
    now = talk(selector, {"a": SILENT, "b": SPEECH}, now, 0.9)
    assert selector.sources == ("a", "b")
    now = talk(selector, {"a": SILENT, "b": SPEECH}, now, 0.2)
    assert selector.sources == (None, "b")
    talk(selector, {"b": SPEECH, "a": SPEECH}, now, 0.1)
    assert selector.sources == ("a", "b")


def test_a_returning_speaker_gets_the_slot_it_had() -> None:
    selector = SpeakerSelector(3)
    now = talk(selector, {"a": SPEECH, "b": SPEECH, "c": SPEECH}, 0, 0.1)
    now = talk(selector, {"a": SILENT, "b": SILENT, "c": SILENT}, now, 1.2)
    assert selector.sources == (None, None, None)
    talk(selector, {"c": SPEECH}, now, 0.1)
    assert selector.sources == (None, None, "c")


def test_a_little_louder_or_for_a_short_time_is_not_enough() -> None:
    selector = SpeakerSelector(1)
    now = talk(selector, {"a": SPEECH}, 0, 1)
    now = talk(selector, {"a": SPEECH, "b": SPEECH + 3}, now, 2)
    assert selector.sources == ("a",)
    now = talk(selector, {"a": SPEECH, "b": LOUD}, now, 0.2)
    now = talk(selector, {"a": SPEECH, "b": SPEECH}, now, 0.1)
    now = talk(selector, {"a": SPEECH, "b": LOUD}, now, 0.2)
    assert selector.sources == ("a",)


def test_a_much_louder_challenger_takes_the_quietest_slot_after_some_time() -> None:
    selector = SpeakerSelector(2)
    now = talk(selector, {"a": LOUD, "b": SPEECH}, 0, 1)
    talk(selector, {"a": LOUD, "b": SPEECH, "c": LOUD}, now, 0.4)
    assert selector.sources == ("a", "c")


def test_a_holder_whose_packets_stop_is_freed_by_the_clock() -> None:
    selector = SpeakerSelector(1, Tuning(hold_s=1.0))
    talk(selector, {"a": SPEECH}, 0, 0.1)
    deadline = selector.deadline()
    assert deadline is not None
    assert not selector.tick(deadline - 0.01)
    assert selector.tick(deadline)
    assert selector.sources == (None,)
    assert selector.deadline() is None


def test_a_dropped_source_leaves_its_slot() -> None:
    selector = SpeakerSelector(2)
    talk(selector, {"a": SPEECH, "b": SPEECH}, 0, 0.1)
    assert selector.drop("a", 0.1)
    assert not selector.drop("a", 0.1)
    assert selector.sources == (None, "b")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 127), st.floats(0, 0.1))))
def test_nobody_ever_holds_two_slots(events: list[tuple[str, float, float]]) -> None:
    selector = SpeakerSelector(3)
    now = 0.0
    for source, loudness, pause in events:
        now += pause
        before = selector.sources
        changed = selector.hear(source, loudness, now)
        assert changed == (selector.sources != before)
        held = [source for source in selector.sources if source]
        assert len(held) == len(set(held))


def place(
    slot: Slot, epoch: int, sequence: int, now: float, *, timestamp: int | None = None
) -> Frame | None:
    at = sequence * 960 if timestamp is None else timestamp
    return slot.place(epoch, sequence, at, 960, False, b"\xf8abc", now)


def must(frame: Frame | None) -> Frame:
    assert frame is not None
    return frame


def test_a_run_keeps_its_spacing_and_its_holes() -> None:
    slot = Slot(1)
    frames = [must(place(slot, 1, 100 + n, n * 0.02)) for n in (0, 1, 2, 5, 6)]
    assert [frame.number for frame in frames] == [0, 1, 2, 5, 6]
    assert [frame.timestamp - frames[0].timestamp for frame in frames] == [
        n * 960 for n in (0, 1, 2, 5, 6)
    ]
    assert [frame.marker for frame in frames] == [True, False, False, False, False]


def test_a_late_packet_gets_its_own_number() -> None:
    slot = Slot(1)
    first = must(place(slot, 1, 100, 0.0))
    place(slot, 1, 102, 0.04)
    late = must(place(slot, 1, 101, 0.05))
    assert (late.number, late.timestamp) == (1, first.timestamp + 960)
    assert place(slot, 1, 99, 0.05) is None


def test_a_takeover_goes_on_by_the_wall_clock() -> None:
    slot = Slot(1)
    last = must(place(slot, 1, 100, 1.0))
    after = must(place(slot, 2, 9_000, 3.5))
    assert after.number == last.number + 1
    assert after.timestamp == last.timestamp + round(2.5 * 48_000)
    assert after.marker
    assert after.run != last.run
    # At once: never before the end of what was said.
    third = must(place(slot, 3, 5, 3.501))
    assert third.timestamp == after.timestamp + 960


def test_late_packets_of_the_source_before_are_not_placed() -> None:
    slot = Slot(1)
    place(slot, 1, 100, 0.0)
    place(slot, 2, 50, 0.1)
    assert place(slot, 2, 49, 0.1) is None


def test_a_pause_of_the_source_keeps_its_numbers_together() -> None:
    slot = Slot(1)
    a = must(place(slot, 1, 100, 0.0, timestamp=0))
    b = must(place(slot, 1, 101, 0.4, timestamp=19_200))
    assert b.number == a.number + 1
    assert b.timestamp - a.timestamp == 19_200
    assert not b.marker


def test_a_jump_of_the_sources_clock_is_mapped_anew() -> None:
    slot = Slot(1)
    a = must(place(slot, 1, 100, 0.0, timestamp=0))
    b = must(place(slot, 1, 101, 0.02, timestamp=10_000_000))
    assert b.timestamp == a.timestamp + 960
    assert b.marker


def test_a_long_hole_is_bounded() -> None:
    slot = Slot(1)
    place(slot, 1, 100, 0.0)
    b = must(place(slot, 1, 101 + MAX_GAP + 1, 2.0))
    assert b.number == 1
    assert b.marker


def test_release_ends_the_run_with_silence() -> None:
    slot = Slot(1)
    assert slot.release(0.0) is None
    a = must(place(slot, 1, 100, 0.0))
    end = must(slot.release(0.03))
    assert (end.number, end.timestamp, end.payload) == (1, a.timestamp + 960, b"\xf8")
    assert end.run == a.run
    assert slot.release(0.03) is None
    b = must(place(slot, 1, 101, 1.03))
    assert b.number == 2
    assert b.timestamp == end.timestamp + 48_000
    assert b.marker


def test_release_after_silence_adds_nothing() -> None:
    slot = Slot(1)
    slot.place(1, 100, 0, 960, False, b"\xf8", 0.0)
    assert slot.release(0.0) is None
    assert must(place(slot, 1, 101, 0.5)).number == 1


def test_a_free_slot_is_silent_aloud_for_a_while() -> None:
    slot = Slot(1)
    assert slot.idle_deadline() is None
    a = must(place(slot, 1, 100, 0.0))
    assert slot.idle_deadline() is None
    slot.release(1.0)
    frames = []
    while (due := slot.idle_deadline()) is not None:
        assert slot.idle(due - 0.01) is None
        frame = slot.idle(due)
        if frame is not None:
            frames.append((due, frame))
    assert frames[0][0] == 1.0 + IDLE_EVERY_S
    assert IDLE_FOR_S - IDLE_EVERY_S <= frames[-1][0] - 1.0 <= IDLE_FOR_S
    assert [frame.number for _, frame in frames] == list(range(2, 2 + len(frames)))
    for due, frame in frames:
        assert len(frame.payload) == 1
        assert abs(frame.timestamp - a.timestamp - due * 48_000) < 100


def test_a_taken_slot_is_not_idle() -> None:
    slot = Slot(1)
    place(slot, 1, 100, 0.0)
    slot.release(0.0)
    place(slot, 2, 5, 0.1)
    assert slot.idle_deadline() is None
    assert slot.idle(5.0) is None


@given(st.integers(0, 10_000))
def test_numbers_and_times_never_go_back_in_the_order_of_numbers(seed: int) -> None:
    rng = random.Random(seed)
    slot = Slot(1)
    now = 0.0
    placed: dict[int, Frame] = {}
    position = {1: rng.randrange(60_000), 2: rng.randrange(60_000)}
    epoch = 1
    for _ in range(200):
        now += 0.02
        if rng.random() < 0.03:
            epoch = 3 - epoch
        position[epoch] += 1
        sequence = position[epoch] - (rng.randrange(4) if rng.random() < 0.2 else 0)
        frame = place(slot, epoch, sequence, now)
        if frame is not None and frame.number not in placed:
            placed[frame.number] = frame
    in_order = [placed[number] for number in sorted(placed)]
    assert all(a.timestamp < b.timestamp for a, b in itertools.pairwise(in_order))
