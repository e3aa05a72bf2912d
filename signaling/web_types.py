"""TypeScript declarations of the wire, made from `chatroom.protocol`.

The page is plain JavaScript checked by `tsc --checkJs`; its types come from the same structures
as the server's, so that a changed message is a type error in the page. A test fails while
`web/js/protocol.d.ts` differs from what this module makes; `python -m signaling.web_types`
writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import msgspec.inspect

from chatroom import protocol, roles
from chatroom.protocol import Envelope, Message

OUTPUT = Path(__file__).parent / "web" / "js" / "protocol.d.ts"

_ROLES = {role.value for role in roles.Role}

_HEAD = """\
// Made from chatroom/protocol.py by `python -m signaling.web_types`. Do not edit.
"""


def typescript(kind: msgspec.inspect.Type) -> str:
    """The TypeScript type of one msgspec type. Raises TypeError for a kind that the wire does
    not use."""
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return typescript(inner)
        case msgspec.inspect.StrType():
            return "string"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return "number"
        case msgspec.inspect.BoolType():
            return "boolean"
        case msgspec.inspect.NoneType():
            return "null"
        case msgspec.inspect.LiteralType(values=values):
            if set(values) == _ROLES:
                return "RoleName"
            return " | ".join(json.dumps(value) for value in values)
        case msgspec.inspect.ListType(item_type=item):
            text = typescript(item)
            return f"({text})[]" if " | " in text else f"{text}[]"
        case msgspec.inspect.DictType(value_type=value):
            return f"Record<string, {typescript(value)}>"
        case msgspec.inspect.UnionType(types=types):
            # The null last, as people write it.
            ordered = sorted(types, key=lambda t: isinstance(t, msgspec.inspect.NoneType))
            return " | ".join(typescript(t) for t in ordered)
        case msgspec.inspect.StructType(cls=cls):
            return cls.__name__
        case _:
            raise TypeError(f"no TypeScript for {kind!r}")


def _interface(struct: type[msgspec.Struct], *, sent: bool) -> str:
    """One interface. Fields with a default may be left out of what the page sends; the server
    always sends every field."""
    kind = msgspec.inspect.type_info(struct)
    assert isinstance(kind, msgspec.inspect.StructType)
    lines = [f"export interface {struct.__name__} {{"]
    if issubclass(struct, Message):
        lines.append(f"  type: {json.dumps(kind.tag)};")
    for field in kind.fields:
        optional = "?" if sent and not field.required else ""
        lines.append(f"  {field.encode_name}{optional}: {typescript(field.type)};")
    lines.append("}")
    return "\n".join(lines)


def _union(name: str, members: tuple[type, ...]) -> str:
    return f"export type {name} =\n" + "\n".join(f"  | {m.__name__}" for m in members) + ";"


def declarations() -> str:
    """The whole declaration file."""
    sent = {protocol.RoomDraft, protocol.JoinDraft, *protocol.COMMANDS}
    structs: tuple[type[msgspec.Struct], ...] = (
        *protocol.RECORDS,
        *protocol.COMMANDS,
        *protocol.EVENTS,
        *protocol.REPLIES,
        Envelope,
    )
    role_names = " | ".join(json.dumps(role.value) for role in roles.Role)
    return (
        "\n\n".join(
            [
                _HEAD.rstrip(),
                f"export type RoleName = {role_names};",
                *(_interface(struct, sent=struct in sent) for struct in structs),
                _union("Command", protocol.COMMANDS),
                _union("Event", protocol.EVENTS),
                _union("Reply", protocol.REPLIES),
            ]
        )
        + "\n"
    )


def main() -> None:
    OUTPUT.write_text(declarations(), encoding="utf-8")
    print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    main()
