"""Writes the files that are made from declarations: `python -m signaling.generate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from signaling.config_docs import default_file, reference
from signaling.protocol_docs import protocol_page

ROOT = Path(__file__).parents[1]

GENERATED: dict[str, Callable[[], str]] = {
    "config.toml": default_file,
    "docs/configuration.md": reference,
    "docs/protocol.md": protocol_page,
}
"""Path from the root of the repository to what makes its text."""


def main() -> None:
    for path, make in GENERATED.items():
        (ROOT / path).write_text(make(), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
