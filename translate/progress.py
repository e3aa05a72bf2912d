"""How far a fetch is, for people: a bar that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from translate.models import Progress

_BAR = 24
_REDRAW_S = 0.1
_LINE_EVERY = 0.25
"""Without a terminal: a line at each quarter."""


def megabytes(size: float) -> str:
    """Bytes as megabytes, with a decimal where that says something."""
    value = size / 1e6
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


class Meter:
    """Shows a fetch; give it to `ModelStore.fetch` as the progress callback."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._terminal = out.isatty()
        self._began: float | None = None
        self._first = 0
        self._drawn = -1.0
        self._label = ""
        self._next_line = 0.0
        self._dirty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self._dirty:
            self._out.write("\n")
            self._out.flush()

    def __call__(self, progress: Progress) -> None:
        self._show(f"{progress.model} {progress.file}", progress.done, progress.total)

    def tell(self, what: str, done: int, total: int) -> None:
        """The same for a download that is no model of the catalogue; a total of 0 is
        unknown."""
        self._show(what.rsplit("/", 1)[-1], done, total)

    def _show(self, label: str, done: int, total: int) -> None:
        now = self._clock()
        if self._began is None:
            self._began, self._first = now, done
        new = label != self._label
        self._label = label
        elapsed = now - self._began
        rate = (done - self._first) / elapsed if elapsed > 0.2 else 0.0
        if self._terminal:
            if new or done >= total > 0 or now - self._drawn >= _REDRAW_S:
                self._drawn = now
                self._draw(label, done, total, rate)
        elif total == 0:
            if new:
                self._out.write(f"{label}\n")
        elif done >= self._next_line * total:
            self._out.write(f"{100 * done // total:3d}%  {_amount(done, total, rate)}  {label}\n")
            self._out.flush()
            while self._next_line <= done / total:
                self._next_line += _LINE_EVERY

    def _draw(self, label: str, done: int, total: int, rate: float) -> None:
        share = done / total if total else 0.0
        full = int(_BAR * share)
        bar = "█" * full + "░" * (_BAR - full)
        percent = f"{100 * share:3.0f}%" if total else "  ?%"
        self._out.write(f"\r{bar} {percent}  {_amount(done, total, rate)}  {label[:40]}\x1b[K")
        self._out.flush()
        self._dirty = True


def _amount(done: int, total: int, rate: float) -> str:
    of = f"/{megabytes(total)}" if total else ""
    return f"{megabytes(done)}{of} MB" + (f"  {megabytes(rate)} MB/s" if rate else "")
