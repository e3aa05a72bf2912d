"""How a setting is declared: once, on a frozen dataclass, with its default, unit, bounds and help.

Each package declares the settings that it reads as a dataclass whose fields are made by
`setting`. The top floor composes them into one configuration file, and the reference page and
the commented `config.toml` are generated from the same declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """What is known of one setting beside its default."""

    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = None
    secret: bool = False


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] | None = None,
    secret: bool = False,
) -> Any:
    """Declare one setting. A list default is copied for every instance.

    `unit` is for people ("ms", "s", "bytes"); `minimum` and `maximum` are inclusive; `secret`
    keeps the value out of logs.
    """
    info = SettingInfo(
        help=help,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        choices=None if choices is None else tuple(choices),
        secret=secret,
    )
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"setting": info})
    return field(default=default, metadata={"setting": info})


def setting_info(of: Field[Any]) -> SettingInfo:
    """The declaration behind a field; raises KeyError where `setting` did not make it."""
    info: SettingInfo = of.metadata["setting"]
    return info


def default_of(of: Field[Any]) -> Any:
    """The default of a field made by `setting`."""
    if of.default_factory is not MISSING:
        return of.default_factory()
    return of.default


def settings_of(section: type) -> list[Field[Any]]:
    """The fields of a settings dataclass in the order of their declaration."""
    return list(fields(section))
