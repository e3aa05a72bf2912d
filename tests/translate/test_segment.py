"""Cutting: the state machine on made-up probabilities, and with the real voice detector."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.decode import RATE
from translate.segment import WINDOW, WINDOW_MS, Ended, Rules, Segmenter, SegmentEvent, Started
from translate.settings import CaptionSettings
from translate.voice import SileroVoice

RULES = Rules(start=0.5, end=0.35, end_silence=16, min_speech=5, pre_roll=9, longest=120)


class Script:
    """A voice detector that says what it was told."""

    def __init__(self, chances: Iterable[float]) -> None:
        self._chances = list(chances)
        self.resets = 0

    def probability(self, window: Any) -> float:
        return self._chances.pop(0)

    def reset(self) -> None:
        self.resets += 1


def play(chances: list[float], rules: Rules = RULES) -> list[SegmentEvent]:
    """Windows numbered in their samples, from room clock 10,000 ms on."""
    segmenter = Segmenter(rules, Script(chances))
    events: list[SegmentEvent] = []
    for index in range(len(chances)):
        window = np.full(WINDOW, index, np.float32)
        events += segmenter.push(window, 10_000 + index * WINDOW_MS)
    return events


def numbers(event: Ended) -> list[int]:
    return [int(n) for n in event.samples[::WINDOW]]


def test_speech_between_silences_is_one_utterance_with_its_lead_in() -> None:
    events = play([0.0] * 20 + [0.9] * 30 + [0.0] * 20)
    started, ended = events
    assert started == Started(10_000 + 11 * WINDOW_MS)
    assert isinstance(ended, Ended)
    assert ended.start_ms == started.start_ms
    assert ended.end_ms == 10_000 + 50 * WINDOW_MS
    assert ended.why == "pause"
    assert numbers(ended) == list(range(11, 50 + RULES.end_silence))


def test_a_click_is_no_utterance() -> None:
    assert play(([0.0] * 10 + [0.9] * 3 + [0.0] * 20) * 5) == []


def test_hysteresis_keeps_weak_speech_together() -> None:
    assert play([0.0] * 10 + [0.45] * 40) == [], "too weak to begin"
    events = play([0.0] * 10 + [0.9] * 6 + [0.4] * 40 + [0.0] * 20)
    assert [type(event) for event in events] == [Started, Ended]


def test_a_short_pause_does_not_end_an_utterance() -> None:
    events = play([0.9] * 10 + [0.0] * 15 + [0.9] * 10 + [0.0] * 16)
    assert [type(event) for event in events] == [Started, Ended]


def test_two_utterances_share_no_sound() -> None:
    events = play([0.9] * 10 + [0.0] * 18 + [0.9] * 10 + [0.0] * 20)
    first, second = (event for event in events if isinstance(event, Ended))
    # The lead-in of the second may be silence behind the first, but no word of it.
    assert min(numbers(second)) > 10
    assert second.start_ms > first.end_ms


def test_long_speech_is_cut_at_its_quietest_recent_pause() -> None:
    chances = [0.95] * 200
    chances[30:33] = [0.1] * 3  # too long ago
    chances[95:99] = [0.6, 0.4, 0.4, 0.6]
    events = play([*chances, *[0.0] * 20])
    assert [type(event) for event in events] == [Started, Ended, Started, Ended]
    first, second = (event for event in events if isinstance(event, Ended))
    assert first.why == "length"
    assert 95 <= numbers(first)[-1] <= 98
    assert numbers(first) + numbers(second) == list(range(200 + RULES.end_silence // 2)), (
        "nothing is lost, nothing is heard twice, and a long utterance ends sooner"
    )
    assert second.start_ms == 10_000 + len(numbers(first)) * WINDOW_MS


def test_stopping_ends_what_was_going_on() -> None:
    voice = Script([0.9] * 20)
    segmenter = Segmenter(RULES, voice)
    segmenter.push(np.zeros(WINDOW * 20, np.float32), 0)
    assert segmenter.open
    assert len(segmenter.sound()) == WINDOW * 20
    assert segmenter.end_ms == 20 * WINDOW_MS
    (ended,) = segmenter.stop()
    assert isinstance(ended, Ended)
    assert ended.why == "stopped"
    assert voice.resets == 1
    assert not segmenter.open
    assert len(segmenter.sound()) == 0
    assert segmenter.stop() == []


@given(
    st.lists(st.integers(1, 2_000), min_size=1, max_size=60),
    st.integers(0, 100),
)
def test_how_the_sound_is_portioned_does_not_matter(portions: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    total = sum(portions)
    samples = random.standard_normal(total).astype(np.float32)
    chances = [float(c) for c in random.random(total // WINDOW)]
    whole = Segmenter(RULES, Script(chances))
    pieces = Segmenter(RULES, Script(chances))
    expected = whole.push(samples, 500)
    found: list[SegmentEvent] = []
    at = 0
    for portion in portions:
        found += pieces.push(samples[at : at + portion], 500 + at * 1000 // RATE)
        at += portion
    assert [type(e) for e in found] == [type(e) for e in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.start_ms == pytest.approx(theirs.start_ms, abs=2)
        if isinstance(mine, Ended) and isinstance(theirs, Ended):
            assert np.array_equal(mine.samples, theirs.samples)


@given(st.lists(st.floats(0, 1), max_size=600))
def test_utterances_are_bounded_ordered_and_alternate(chances: list[float]) -> None:
    rules = Rules(start=0.5, end=0.35, end_silence=6, min_speech=2, pre_roll=3, longest=40)
    events = play(chances, rules)
    kinds = [type(event) for event in events]
    assert kinds == [Started, Ended] * (len(kinds) // 2) + [Started] * (len(kinds) % 2)
    last_end = 0
    for event in events:
        if isinstance(event, Ended):
            assert len(event.samples) <= rules.longest * WINDOW
            assert last_end <= event.start_ms < event.end_ms
            assert event.end_ms <= event.start_ms + len(event.samples) * 1000 // RATE
            last_end = event.end_ms


def test_rules_are_the_settings_in_windows() -> None:
    rules = Rules.of(CaptionSettings())
    assert (rules.end_silence, rules.min_speech, rules.pre_roll, rules.longest) == (16, 5, 9, 375)
    odd = Rules.of(CaptionSettings(start_threshold=0.3, end_threshold=0.6))
    assert odd.end == odd.start == 0.3


@pytest.mark.parametrize("name", ["en-real-1", "zh-00", "es-09"])
def test_real_speech_is_found_where_it_is(clips: dict[str, Any], name: str) -> None:
    speech = clips[name].samples()
    silence = np.zeros(RATE, np.float32)
    sound = np.concatenate([silence, speech, silence, speech, silence])
    segmenter = Segmenter(Rules.of(CaptionSettings()), SileroVoice())
    events = []
    for start in range(0, len(sound), 320):
        events += segmenter.push(sound[start : start + 320], start * 1000 // RATE)
    assert [type(event) for event in events] == [Started, Ended] * 2
    first, second = (event for event in events if isinstance(event, Ended))
    assert 600 <= first.start_ms <= 1_800
    assert first.end_ms <= 1_000 + len(speech) / 16 + 200
    apart = (len(speech) + RATE) / 16
    assert second.start_ms - first.start_ms == pytest.approx(apart, abs=300)


@pytest.mark.parametrize("level", [0.0, 0.002, 0.02, 0.1])
def test_noise_and_hum_are_no_speech(level: float) -> None:
    random = np.random.default_rng(3)
    hum = level * np.sin(2 * np.pi * 50 * np.arange(RATE * 6) / RATE)
    noise = random.normal(0, level, RATE * 6)
    segmenter = Segmenter(Rules.of(CaptionSettings()), SileroVoice())
    assert segmenter.push((noise + hum).astype(np.float32), 0) == []
