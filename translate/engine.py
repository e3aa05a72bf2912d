"""What every translation engine is: a few pairs of languages and a blocking `translate`."""

from __future__ import annotations

from typing import Protocol


class Engine(Protocol):
    """One way to translate. Languages are base tags ("pt", "zh"); Chinese is simplified."""

    name: str
    generative: bool
    """Whether it may answer instead of translating, so that its answers are checked strictly."""

    def pairs(self) -> set[tuple[str, str]]:
        """The pairs whose files are here, as (source, target)."""
        ...

    def refresh(self) -> None:
        """Look again at what is on the disk."""
        ...

    def load(self, source: str, target: str) -> None:
        """Bring a pair into memory, so that the first line is not late. Blocks. Raises
        ModelUnavailable where its files are broken."""
        ...

    def translate(self, texts: list[str], source: str, target: str) -> list[str]:
        """Translate each text, in order. Blocks; safe to call from several threads. Raises
        KeyError for a pair that it does not have, ModelUnavailable where its files are
        broken."""
        ...

    def close(self) -> None:
        """Give memory and threads back; the engine is not used again."""
        ...
