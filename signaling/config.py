"""The configuration: one TOML file, overridden by the environment.

Each package declares what it may be told as a dataclass (`chatroom.settings`); here they become
sections of one file. `CHATROOM_<SECTION>_<KEY>` in the environment wins over the file. A section
or key that nobody declared, and a value that is not allowed, is an error that names it, says where
it stands and what is allowed.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from pathlib import Path
from typing import Any

from chatroom.redis_settings import RedisSettings
from chatroom.room_settings import RoomSettings
from chatroom.settings import setting_info, settings_of
from media.settings import MediaSettings
from signaling.settings import ServerSettings
from translate.settings import CaptionSettings

PREFIX = "CHATROOM_"
DEFAULT_FILE = Path("config.toml")

SECTIONS: dict[str, type] = {
    "server": ServerSettings,
    "redis": RedisSettings,
    "rooms": RoomSettings,
    "media": MediaSettings,
    "captions": CaptionSettings,
}
"""Section name to the dataclass that declares it."""

RESERVED = frozenset({"CHATROOM_TEST_MODELS"})
"""Variables with the prefix that are no settings."""


class ConfigError(Exception):
    """A configuration that cannot be used; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, by section."""

    server: ServerSettings = field(default_factory=ServerSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    rooms: RoomSettings = field(default_factory=RoomSettings)
    media: MediaSettings = field(default_factory=MediaSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration from a file and the environment (the process's, unless given). Without
    a path, `config.toml` in the working directory is read if it is there. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    if path is not None:
        _read_file(path, values)
    _read_environment(environ, values)
    return Config(**{name: section(**values[name]) for name, section in SECTIONS.items()})


def _read_file(path: Path, values: dict[str, dict[str, Any]]) -> None:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}.") from None
    for name, table in document.items():
        section = SECTIONS.get(name)
        if section is None or not isinstance(table, dict):
            known = ", ".join(f"[{each}]" for each in SECTIONS)
            raise ConfigError(f"{path}: unknown section [{name}]; there are {known}.")
        for key, value in table.items():
            of = _field(section, key)
            if of is None:
                raise ConfigError(f"{path}: {_unknown(name, key, section)}")
            values[name][key] = _checked(name, of, section, value, f"{path}")


def _read_environment(environ: Mapping[str, str], values: dict[str, dict[str, Any]]) -> None:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        name, _, key = variable.removeprefix(PREFIX).lower().partition("_")
        section = SECTIONS.get(name)
        if section is None:
            known = ", ".join(f"{PREFIX}{each.upper()}_…" for each in SECTIONS)
            raise ConfigError(f"environment {variable}: unknown section; there are {known}.")
        of = _field(section, key)
        if of is None:
            raise ConfigError(f"environment {variable}: {_unknown(name, key, section)}")
        where = f"environment {variable}"
        values[name][key] = _checked(name, of, section, _from_text(of, section, text), where)


def _field(section: type, key: str) -> Field[Any] | None:
    return next((of for of in settings_of(section) if of.name == key), None)


def _type(section: type, of: Field[Any]) -> Any:
    return typing.get_type_hints(section)[of.name]


def _unknown(name: str, key: str, section: type) -> str:
    known = ", ".join(of.name for of in settings_of(section))
    return f"unknown key {name}.{key}; [{name}] has {known}."


def _from_text(of: Field[Any], section: type, text: str) -> Any:
    """A value of the environment in the form that TOML would give; what cannot be read stays
    text, which the check then refuses."""
    kind = _type(section, of)
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "on": True}.get(
            text.lower(), {"false": False, "0": False, "no": False, "off": False}.get(text.lower())
        )
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def _checked(name: str, of: Field[Any], section: type, value: Any, where: str) -> Any:
    kind, info = _type(section, of), setting_info(of)
    if kind is float and type(value) is int:
        value = float(value)
    good = type(value) is kind
    if typing.get_origin(kind) is list:
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if good and info.choices is not None:
        good = value in info.choices
    if good and kind in (int, float):
        low, high = info.minimum, info.maximum
        good = (low is None or value >= low) and (high is None or value <= high)
        good = good and math.isfinite(value)
    if not good:
        shown = "(not shown)" if info.secret else repr(value)
        raise ConfigError(f"{where}: {name}.{of.name} = {shown} is not {allowed(section, of)}.")
    return value


def allowed(section: type, of: Field[Any]) -> str:
    """What a setting may be, in words."""
    kind, info = _type(section, of), setting_info(of)
    if info.choices is not None:
        return "one of " + ", ".join(json.dumps(choice) for choice in info.choices)
    if kind is bool:
        return "true or false"
    if kind is str:
        return "text"
    if kind not in (int, float):
        return "a list of texts"
    words = "a whole number" if kind is int else "a number"
    if info.minimum is not None and info.maximum is not None:
        words += f" from {info.minimum:g} to {info.maximum:g}"
    elif info.minimum is not None:
        words += f" of at least {info.minimum:g}"
    elif info.maximum is not None:
        words += f" of at most {info.maximum:g}"
    return words
