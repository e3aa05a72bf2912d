"""The commented `config.toml` and `docs/configuration.md`, made from the declarations."""

from __future__ import annotations

import json
import textwrap
from dataclasses import Field
from typing import Any

from chatroom.settings import default_of, setting_info, settings_of
from signaling.config import PREFIX, SECTIONS, allowed

WIDTH = 96


def toml_value(value: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def default_file() -> str:
    """`config.toml` with every key at its default, commented."""
    lines = [
        "# Settings of the chatroom server and its worker. Every key is here with its default;",
        f"# {PREFIX}<SECTION>_<KEY> in the environment wins over this file (lists: commas).",
        "# `chatroom config` prints this file; docs/configuration.md has the same as a table.",
    ]
    for name, section in SECTIONS.items():
        lines += ["", f"[{name}]"]
        for of in settings_of(section):
            info = setting_info(of)
            note = f"{info.help} ({_bounds(section, of)})"
            lines.append("")
            lines += textwrap.wrap(note, WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{of.name} = {toml_value(default_of(of))}")
    return "\n".join(lines) + "\n"


def reference() -> str:
    """`docs/configuration.md`."""
    lines = [
        "# Configuration",
        "",
        "`chatroom serve` and `chatroom worker` read `config.toml` from the working directory, or",
        "the file named with `--config`. In the environment, `CHATROOM_<SECTION>_<KEY>` wins over",
        "the file: `CHATROOM_SERVER_PORT=9000`, lists divided by commas. An unknown key or a value",
        "that is not allowed is an error that says what is allowed. This page and the commented",
        "default file (`chatroom config`) are generated from the declarations in the code.",
    ]
    for name, section in SECTIONS.items():
        lines += ["", f"## [{name}]", "", "| key | default | allowed | what it does |"]
        lines.append("|---|---|---|---|")
        for of in settings_of(section):
            info = setting_info(of)
            default = f"`{toml_value(default_of(of))}`"
            row = [f"`{of.name}`", default, _bounds(section, of), info.help]
            lines.append("| " + " | ".join(_cell(text) for text in row) + " |")
    return "\n".join(lines) + "\n"


def _bounds(section: type, of: Field[Any]) -> str:
    unit = setting_info(of).unit
    return allowed(section, of) + (f", {unit}" if unit else "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
