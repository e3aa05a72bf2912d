"""What people see of a fetch."""

import io

from translate.models import Progress
from translate.progress import Meter, megabytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(done: int, total: int = 100_000_000, file: str = "model.bin") -> Progress:
    return Progress("whisper-base", file, done, total, done, total)


def test_megabytes() -> None:
    assert [megabytes(size) for size in (0, 1_500_000, 99_400_000)] == ["0.0", "1.5", "99"]


def test_a_terminal_gets_one_line_that_moves() -> None:
    out, clock = Terminal(), iter(range(100))
    with Meter(out, lambda: next(clock)) as meter:
        for done in (0, 25_000_000, 100_000_000):
            meter(step(done))
    text = out.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    last = text.split("\r")[-1]
    assert "█" * 24 in last
    assert "100%  100/100 MB  50 MB/s  whisper-base model.bin" in last


def test_a_terminal_is_not_drawn_to_more_often_than_it_can_be_read() -> None:
    out = Terminal()
    meter = Meter(out, lambda: 1.0)
    for done in range(1000):
        meter(step(done))
    assert out.getvalue().count("\r") == 1


def test_a_log_gets_a_line_at_each_quarter() -> None:
    out, clock = io.StringIO(), iter(range(1000))
    with Meter(out, lambda: next(clock)) as meter:
        for done in range(101):
            meter(step(done * 1_000_000))
    lines = out.getvalue().splitlines()
    assert [line[:4] for line in lines] == ["  0%", " 25%", " 50%", " 75%", "100%"]


def test_an_unknown_size_is_no_error() -> None:
    for out in (Terminal(), io.StringIO()):
        with Meter(out) as meter:
            meter.tell("http://host/a.argosmodel", 5, 0)
            meter.tell("http://host/a.argosmodel", 9, 0)
        assert out.getvalue().count("a.argosmodel") == 1
