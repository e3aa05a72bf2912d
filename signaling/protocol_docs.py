"""`docs/protocol.md`: the HTTP interface, and every message out of `chatroom.protocol`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import ModuleType

import msgspec

from chatroom import errors, protocol
from chatroom.errors import ChatroomError
from chatroom.protocol import COMMANDS, EVENTS, RECORDS, REPLIES, Envelope
from chatroom.roles import ALLOWED, Action, Role
from signaling import api, languages, problems, transcript
from signaling.connection import CLOSE_CODES
from signaling.problems import STATUS

HTTP = """\
# Protocol

How browsers and other clients talk to the server. The messages are declared in
`chatroom/protocol.py`; this page is generated from them (`python -m signaling.generate`), and a
test fails when it differs.

- [HTTP](#http), [WHIP and WHEP](#whip-and-whep), [WebSocket](#websocket)
- [Commands](#commands), [events](#events), [replies](#replies), [records](#records)
- [Errors](#errors), [who may do what](#who-may-do-what)

## HTTP

Bodies are JSON in UTF-8 unless another type is named. A *token* goes into
`Authorization: Bearer <token>`; it is for one participant of one room. Every error is a problem
(RFC 9457, `application/problem+json`): `{type, title, status, detail, code}`, where `code` is one
of [these](#errors) and `detail` a sentence for people.

| request | token | body | answer |
|---|---|---|---|
| `POST /api/rooms` | | `RoomDraft` | 201 `RoomCreated` |
| `GET /api/rooms/{room}` | | | 200 `RoomInfo` |
| `POST /api/rooms/{room}/participants` | | `JoinDraft` | 201 `Joined` |
| `POST /api/rooms/{room}/commands` | yes | a [command](#commands) | 200 `Replies` |
| `GET /api/rooms/{room}/events?after=CURSOR&captions=LANGUAGE` | yes | | 200 `MissedEvents` |
| `GET /api/rooms/{room}/captions?lang=LANGUAGE&format=FORMAT&both=1` | yes | | 200, a file |
| `GET /api/rooms/{room}/ws` | in `hello` | | a [WebSocket](#websocket) |
| `GET /api/languages` | | | 200 `Languages` |
| `GET /healthz` | | | 200 while Redis answers, else 503 |
| `GET /metrics` | | | text for Prometheus |
| `GET /`, `GET /r/{room}`, `GET /static/…` | | | the page |

A client without a WebSocket sends commands and asks for events over HTTP: first without `after`,
then with the `cursor` of the answer before. It counts as being in the room for 10 s after asking.

`captions` is what was said so far (the newest `rooms.caption_history` lines, for an ended room
while it is kept): `format` is `vtt` (WebVTT), `srt` (SubRip), `txt` or `json` (`Transcript`, also
without `format`). Without `lang` the lines are as they were said; with it they are in that
language, as far as somebody has read them in it: a line without a translation is the original with
its language before it, `[es] Buenas tardes.`, and 422 `language_unavailable` tells that there is
none at all. `both=1` puts the original under each translation. Times are those of the room's clock.

A token is a JWT (HS256) with `room`, `sub` (the participant), `name`, `role`, `speaks`, `iat` and
`exp`. The role in it is the one at issue; what somebody may do now is decided by the room's state.

## WHIP and WHEP

Sound goes in by WHIP (RFC 9725) and out by WHEP, with any client that speaks them. Both take a
participant's token. Publishing needs a seat on stage; everybody in the room may listen.

| request | body | answer |
|---|---|---|
| `POST /rooms/{room}/whip` | `application/sdp`, an offer that sends Opus | 201 with the answer |
| `POST /rooms/{room}/whep` | `application/sdp`, an offer that receives Opus | 201 with the answer |
| `PATCH /sessions/{session}` | `application/trickle-ice-sdpfrag` | 204, or 200 for an ICE restart |
| `DELETE /sessions/{session}` | | 200 |
| `OPTIONS` on any of them | | 200 with `Accept-Post` or `Accept-Patch`, and CORS headers |

- 201 carries `Location` (the session), `ETag` (its ICE generation), and a `Link` with
  `rel="ice-server"` for each configured STUN or TURN server.
- A WHEP offer with several audio sections gets one voice in each, up to `media.slots`; with one
  section it follows who is heard best.
- A participant has one publishing session; a new one replaces the old. A PATCH to the old one is
  answered with 409 `conflict`: who gets it should not publish anew, that would replace the newer.
- The server is an ICE-lite agent and offers all its candidates in the answer. A trickle fragment
  is answered with 204 and needs no `If-Match`. A fragment with a new `a=ice-ufrag` is an ICE
  restart and needs `If-Match: "*"` or the present ETag: 428 without one, 412 with another; the
  answer is the server's fragment with a new ETag.
- A session is changed by its owner alone, and ended by its owner or by a host.
- Errors: 400 `bad_offer` (malformed SDP), 401, 403, 404 (no such room or session), 406 `no_opus`,
  410 `room_ended`, 415 (content type), 503 `room_full` or `unavailable` with `Retry-After`.

## WebSocket

`GET /api/rooms/{room}/ws`. Frames from the client are [commands](#commands) as JSON text, those
from the server `Envelope`s: `{"m": message, "id": cursor}`, where `id` is there for stored events
only.

1. The client sends [`hello`](#hello) within 10 s, with its token, the caption language, and after a
   lost connection the `id` of the last event it saw as `cursor`.
2. The server answers [`welcome`](#welcome) with the state now. With `resumed: true` every stored
   event after the cursor follows (of `stage` and `hands`, which are whole lists, the last one);
   otherwise history starts anew from the welcome's `history`.
3. Events follow as they happen, each only as far as its reader may see it: captions carry the
   reader's language alone, hands are whole for hosts only, and `invited`, `invitation_answered`
   and `removed` go to the person concerned and to hosts.

The server pings every 15 s and closes a connection without a pong. A message over 16 KiB, a
binary one and one that breaks the schema get an `error` and leave the connection up; who repeats
that is closed, and so is who sends over 64 KiB at once (1009). For a client that reads too slowly
`talking`, `presence`, `captions_status` and captions that are not final are left out; when too much
waits altogether the connection is cut, and the client resumes with its cursor.

An `error` with `fatal: true` is the last message before the close:

| close code | meaning |
|---|---|
"""


def protocol_page() -> str:
    """The whole page."""
    parts = [HTTP.rstrip("\n")]
    parts += [f"| {code} | {meaning} |" for code, meaning in CLOSE_CODES.items()]
    notes = _Notes(protocol)
    parts += ["", "## Commands", "", "From a participant to the server.", ""]
    parts += [_message(kind, notes) for kind in COMMANDS]
    parts += ["## Events", "", "What happened in the room.", ""]
    parts += [_message(kind, notes) for kind in EVENTS]
    parts += ["## Replies", "", "From the server to one participant.", ""]
    parts += [_message(kind, notes) for kind in REPLIES]
    parts += ["## Records", "", "The structures inside messages and bodies.", ""]
    parts += [_struct(Envelope, notes, "Envelope")]
    parts += [_struct(kind, notes, kind.__name__) for kind in RECORDS]
    for module in (api, languages, transcript):
        inner = _Notes(module)
        parts += [_struct(kind, inner, kind.__name__) for kind in module.RECORDS]
    parts += ["### Kinds of values", "", "| name | what it is |", "|---|---|"]
    parts += [f"| `{name}` | `{what}` |" for name, what in _aliases(notes)]
    parts += ["", "## Errors", "", "| code | status | meaning |", "|---|---|---|"]
    parts += _errors()
    parts += ["", "## Who may do what", ""]
    roles = list(Role)
    parts += ["| | " + " | ".join(roles) + " |", "|---" * (len(roles) + 1) + "|"]
    for action in Action:
        marks = ("yes" if action in ALLOWED[role] else "" for role in roles)
        parts.append(f"| {action.replace('_', ' ')} | " + " | ".join(marks) + " |")
    return "\n".join(parts).rstrip() + "\n"


class _Notes:
    """What stands in a module's source beside its code: annotations as written, and the texts
    under fields."""

    def __init__(self, module: ModuleType) -> None:
        tree = ast.parse(inspect.getsource(module))
        self.classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
        self.assigned = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def fields(self, name: str) -> dict[str, tuple[str, str]]:
        """Field name to its type as written and the text under it."""
        found: dict[str, tuple[str, str]] = {}
        last = ""
        for node in self.classes[name].body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                last = node.target.id
                found[last] = (_written(node.annotation), "")
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
                found[last] = (found[last][0], " ".join(str(node.value.value).split()))
        return found


def _message(kind: type[msgspec.Struct], notes: _Notes) -> str:
    return _struct(kind, notes, str(kind.__struct_config__.tag))


def _struct(kind: type[msgspec.Struct], notes: _Notes, title: str) -> str:
    lines = [f"### {title}", ""]
    text = ast.get_docstring(notes.classes[kind.__name__])
    if text:
        lines += [*textwrap.wrap(" ".join(text.split()), 98), ""]
    written = notes.fields(kind.__name__)
    rows = []
    for field in msgspec.structs.fields(kind):
        annotation, meaning = written[field.name]
        default = "" if field.required else f"`{msgspec.json.encode(_default(field)).decode()}`"
        cells = (f"`{field.name}`", f"`{annotation}`", default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if rows:
        lines += ["| field | type | default | |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    assert field.default_factory is not msgspec.NODEFAULT
    return field.default_factory()


def _aliases(notes: _Notes) -> list[tuple[str, str]]:
    """`Annotated` and `Literal` names of the protocol, with what they allow."""
    found = []
    for name, value in notes.assigned.items():
        if not isinstance(value, ast.Subscript) or not isinstance(value.value, ast.Name):
            continue
        if value.value.id == "Literal":
            found.append((name, "one of " + ast.unparse(value.slice).strip("()")))
        elif value.value.id == "Annotated":
            found.append((name, _written(value)))
    return [(name, what.replace("|", "\\|")) for name, what in found]


def _written(annotation: ast.expr) -> str:
    """A type as people read it: `Annotated` becomes the type with its bounds."""
    match annotation:
        case ast.Subscript(
            value=ast.Name(id="Annotated"),
            slice=ast.Tuple(elts=[base, ast.Call(keywords=keywords)]),
        ):
            bounds = ", ".join(f"{k.arg} {_value(k.value)}" for k in keywords)
            return f"{_written(base)}, {bounds}"
    return ast.unparse(annotation)


def _value(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return str(getattr(protocol, node.id))
    assert isinstance(node, ast.Constant)
    return str(node.value)


def _errors() -> list[str]:
    """Every error, with the words of the tree in `chatroom.errors` or its docstring."""
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        name, _, meaning = line.lstrip(" │├└─").partition(" ")
        tree[name.strip()] = meaning.strip()
    rows = []
    for module in (errors, problems):
        for kind in vars(module).values():
            if (
                inspect.isclass(kind)
                and issubclass(kind, ChatroomError)
                and kind is not ChatroomError
                and kind.__module__ == module.__name__
            ):
                meaning = tree.get(kind.__name__) or " ".join((kind.__doc__ or "").split())
                meaning = meaning or kind.code.replace("_", " ")
                rows.append(f"| `{kind.code}` | {STATUS[kind.code]} | {meaning} |")
    return rows
