"""Ids of rooms and people: random, short enough to be read out, hard enough to be guessed."""

from __future__ import annotations

import re
import secrets

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Lower case, without what looks alike (0 o, 1 l i)."""

_ROOM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def _random(length: int) -> str:
    letters = ""
    while len(letters) < length:
        # Bytes that would favour the first letters are left out.
        letters += "".join(
            _ALPHABET[byte % len(_ALPHABET)]
            for byte in secrets.token_bytes(2 * length)
            if byte < 256 - 256 % len(_ALPHABET)
        )
    return letters[:length]


def new_room_id() -> str:
    """10 characters, 49 bits: the link is the invitation, and guessing one must not pay."""
    return _random(10)


def new_participant_id() -> str:
    """12 characters, 59 bits."""
    return _random(12)


def is_room_id(text: str) -> bool:
    """Whether `text` can be a room's id; nothing else is ever put into a key's name."""
    return _ROOM_ID.fullmatch(text) is not None
