"""The garbage collector, kept from stopping a full room.

A full collection looks at every object there is and stops everything meanwhile: with ten
thousand listeners for some 0.3 s, which they hear. Nearly all objects here are freed by their
reference counts (tests hold sessions to that), so full collections can be rare, and what is made
once at the start is left out of them for ever.
"""

from __future__ import annotations

import gc

YOUNG = 5_000
"""Objects more than were freed until the young are looked at: two milliseconds."""
MIDDLE = 3
"""Collections of the young until the survivors are looked at: some ten milliseconds."""
FULL = 250
"""Collections of the survivors until everything is: five million objects, where two hundred
thousand listeners have joined and stayed, or some hundred megabytes have leaked."""


def calm() -> None:
    """To be called once, when the server is up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, FULL)


def tidy() -> None:
    """A full collection, for when nobody is here to hear it."""
    gc.collect()
