import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import levels
from media.levels import AudioLevel, LevelError, Loudness


@given(st.integers(0, 127), st.booleans())
def test_levels_read_back(dbov: int, voice: bool) -> None:
    assert levels.parse(levels.build(AudioLevel(dbov, voice))) == AudioLevel(dbov, voice)


def test_two_byte_header_may_pad() -> None:
    assert levels.parse(b"\x9e\x00") == AudioLevel(30, True)


@pytest.mark.parametrize("bad", [b"", b"abc"])
def test_malformed(bad: bytes) -> None:
    with pytest.raises(LevelError):
        levels.parse(bad)


def test_without_levels_size_decides() -> None:
    assert levels.assumed(b"\xf8").dbov == levels.SILENCE_DBOV
    assert levels.assumed(bytes(80)).dbov == levels.UNKNOWN_DBOV


def test_loudness_rises_within_a_tenth_of_a_second_and_falls_slower() -> None:
    loudness = Loudness()
    now = 0.0
    for _ in range(5):
        value = loudness.update(AudioLevel(30, True), now)
        now += 0.02
    assert 90 < value <= 97
    for _ in range(5):
        value = loudness.update(AudioLevel(127, False), now)
        now += 0.02
    assert 50 < value < 80


def test_loudness_does_not_depend_on_the_spacing_of_packets() -> None:
    fine, coarse = Loudness(), Loudness()
    for step in range(60):
        a = fine.update(AudioLevel(20, True), step * 0.02)
    for step in range(20):
        b = coarse.update(AudioLevel(20, True), step * 0.06)
    assert a == pytest.approx(b, abs=0.5)


@given(st.lists(st.tuples(st.integers(0, 127), st.floats(-1, 10)), max_size=50))
def test_loudness_stays_in_range(updates: list[tuple[int, float]]) -> None:
    loudness = Loudness()
    for dbov, now in updates:
        assert 0 <= loudness.update(AudioLevel(dbov, False), now) <= 127
