"""A log that a flood of bad packets cannot fill."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

EVERY_S = 10.0


class BoundedLog:
    """Warns of the first of each cause, then at most once per `EVERY_S` with how many there
    were since. `clock` is in seconds."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, cause: str, detail: object, error: Exception | None = None) -> None:
        """Count one; `cause` is one of few, `detail` may differ every time."""
        self._untold[cause] = self._untold.get(cause, 0) + 1
        now = self._clock()
        if now - self._told.get(cause, -math.inf) >= EVERY_S:
            self._told[cause] = now
            count = self._untold.pop(cause)
            self._logger.warning("%s (%d): %s", cause, count, detail, exc_info=error)
