"""What is recognised next, on a made-up clock."""

import random

from translate.agenda import Agenda, Turn


def final(key: str) -> Turn[str]:
    return Turn(key, True)


def partial(key: str) -> Turn[str]:
    return Turn(key, False)


def test_tentative_hearings_come_at_the_interval() -> None:
    agenda: Agenda[str] = Agenda(500, 20_000)
    assert agenda.next(0) == (None, [])
    assert agenda.wait_ms(0) is None
    agenda.speaking("a", 0)
    assert agenda.next(100) == (None, [])
    assert agenda.wait_ms(100) == 400
    assert agenda.next(500) == (partial("a"), [])
    agenda.done(600)
    assert agenda.next(999) == (None, [])
    assert agenda.next(1_000) == (partial("a"), [])


def test_finals_go_first_and_in_order() -> None:
    agenda: Agenda[str] = Agenda(500, 20_000)
    agenda.speaking("c", 0)
    agenda.ended("a", 600)
    agenda.ended("b", 610)
    assert agenda.wait_ms(620) == 0
    assert agenda.next(620) == (final("a"), [])
    agenda.done(800)
    assert agenda.next(800) == (final("b"), [])
    agenda.done(900)
    assert agenda.next(900) == (partial("c"), [])


def test_who_waited_longest_is_heard_next_and_nothing_queues() -> None:
    agenda: Agenda[str] = Agenda(500, 20_000)
    agenda.speaking("a", 0)
    agenda.speaking("b", 200)
    assert agenda.next(5_000)[0] == partial("a")
    agenda.done(5_050)
    assert agenda.next(5_050)[0] == partial("b")
    agenda.done(5_100)
    assert agenda.next(5_100)[0] is None, "the time that passed gives no further turns"


def test_slow_hearings_come_less_often() -> None:
    agenda: Agenda[str] = Agenda(500, 20_000)
    agenda.speaking("a", 0)
    agenda.next(500)
    agenda.done(1_100)
    assert agenda.interval_ms() == 1_200, "at most half of the time"
    assert agenda.next(1_600)[0] is None
    assert agenda.next(1_700)[0] == partial("a")


def test_under_load_tentative_hearings_stop_and_come_back() -> None:
    agenda: Agenda[str] = Agenda(500, 20_000)
    agenda.speaking("a", 0)
    agenda.ended("b", 0)
    assert agenda.behind_ms(2_000) == 2_000
    assert agenda.next(2_000)[0] == final("b")
    agenda.done(2_200)
    assert agenda.next(2_200)[0] is None
    assert agenda.behind_ms(2_200) == 2_000
    wait = agenda.wait_ms(2_200)
    assert wait is not None
    assert agenda.next(2_200 + wait)[0] == partial("a")
    assert agenda.behind_ms(2_200 + wait) == 0


def test_who_pauses_is_heard_before_the_interval_is_over() -> None:
    agenda: Agenda[str] = Agenda(500, 20_000)
    agenda.speaking("a", 0)
    agenda.speaking("b", 0)
    agenda.pausing("nobody")
    agenda.pausing("b")
    agenda.pausing("b")
    agenda.ended("c", 90)
    assert agenda.wait_ms(100) == 0
    assert agenda.next(100)[0] == final("c")
    agenda.done(150)
    assert agenda.next(150)[0] == partial("b")
    agenda.done(200)
    assert agenda.next(200)[0] is None
    agenda.pausing("a")
    agenda.forget("a")
    assert agenda.next(210)[0] is None


def test_what_waited_too_long_is_given_up() -> None:
    agenda: Agenda[str] = Agenda(500, 3_000)
    for key in "abc":
        agenda.ended(key, 1_000 * "abc".index(key))
    assert agenda.next(4_500) == (final("c"), ["a", "b"])
    assert agenda.behind_ms(4_500) == 4_500


def test_without_partials_only_finals_are_heard() -> None:
    agenda: Agenda[str] = Agenda(500, 3_000, partials=False)
    agenda.speaking("a", 0)
    assert agenda.next(5_000)[0] is None
    assert agenda.wait_ms(5_000) is None
    agenda.ended("a", 5_000)
    assert agenda.next(5_000)[0] == final("a")


def test_what_is_forgotten_is_not_heard() -> None:
    agenda: Agenda[str] = Agenda(500, 3_000)
    agenda.speaking("a", 0)
    agenda.ended("b", 0)
    agenda.forget("a")
    agenda.forget("b")
    assert agenda.next(1_000) == (None, [])
    assert agenda.wait_ms(1_000) is None


def test_a_recogniser_that_is_too_slow_stays_bounded() -> None:
    """Ten speakers, utterances of 3 s, 700 ms to hear one: more than there is time for."""
    agenda: Agenda[int] = Agenda(500, 5_000)
    rng = random.Random(5)
    now, key = 0.0, 0
    ends = {}
    for _ in range(10):
        key += 1
        agenda.speaking(key, now)
        ends[key] = now + rng.uniform(500, 3_000)
    heard = dropped = partials = 0
    while now < 120_000:
        for speaking in [k for k, end in ends.items() if end <= now]:
            agenda.ended(speaking, ends.pop(speaking))
            key += 1
            agenda.speaking(key, now)
            ends[key] = now + 3_000
        turn, given_up = agenda.next(now)
        dropped += len(given_up)
        if turn is None:
            now += 20
            continue
        heard += turn.final
        partials += not turn.final
        now += 700
        agenda.done(now)
        assert agenda.behind_ms(now) <= 5_000 + 700 + 20
    assert heard > 150, "the recogniser never rests"
    assert dropped > 150
    assert partials < 5
