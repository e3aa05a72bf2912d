"""Rooms over plain HTTP: creating, looking, joining, and what a WebSocket does for who has none."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from chatroom.errors import BadMessage, Forbidden, Unavailable
from chatroom.ids import new_participant_id
from chatroom.protocol import (
    CaptionPosted,
    CaptionsStatus,
    CaptionsStatusChanged,
    Cursor,
    Envelope,
    Event,
    HandsChanged,
    JoinDraft,
    Language,
    Presence,
    Record,
    Reply,
    RoleName,
    RoomDraft,
    RoomInfo,
    StageChanged,
    Talking,
    decode_command,
)
from chatroom.roles import Role
from chatroom.room import admit, info, role_of
from signaling import transcript
from signaling.commands import execute_over_http, history
from signaling.context import (
    Context,
    body_of,
    json_body,
    limit_commands,
    limit_joins,
    limit_rooms,
    of,
    participant,
)
from signaling.events import missed_events, websocket
from signaling.languages import encode as encode_languages
from signaling.languages import languages
from signaling.problems import UnsupportedMediaType
from signaling.room_hub import RoomHub
from signaling.tokens import Claims
from signaling.views import seen_by


class RoomCreated(Record, frozen=True):
    """Answer of `POST /api/rooms`."""

    room: RoomInfo
    token: str
    participant: str
    host_link: str
    """With the host's token in the fragment, which browsers do not send."""
    invite_link: str


class Joined(Record, frozen=True):
    """Answer of `POST /api/rooms/{room}/participants`."""

    room: RoomInfo
    participant: str
    token: str
    role: RoleName
    captions_status: CaptionsStatus


class Replies(Record, frozen=True):
    """Answer of `POST /api/rooms/{room}/commands`."""

    replies: list[Reply]


class MissedEvents(Record, frozen=True):
    """Answer of `GET /api/rooms/{room}/events`."""

    cursor: str
    """What to ask after next time."""
    events: list[Envelope]
    resumed: bool
    """False without `after`, or when it is too old: the events are then the state now and the
    latest captions, without ids."""


LANGUAGE_CODE = "a language code such as en or zh-Hans"
MAX_CAPTIONS = 1000
"""As many as a room may keep (`rooms.caption_history`)."""

RECORDS: tuple[type[Record], ...] = (RoomCreated, Joined, Replies, MissedEvents)


def add_routes(app: web.Application) -> None:
    router = app.router
    router.add_post("/api/rooms", create_room)
    router.add_get("/api/rooms/{room}", get_room)
    router.add_post("/api/rooms/{room}/participants", join)
    router.add_post("/api/rooms/{room}/commands", post_command)
    router.add_get("/api/rooms/{room}/events", get_events)
    router.add_get("/api/rooms/{room}/captions", get_captions)
    router.add_get("/api/rooms/{room}/ws", websocket)
    router.add_get("/api/languages", get_languages)


async def create_room(request: web.Request) -> web.Response:
    context = of(request)
    draft = await json_body(request, RoomDraft)
    draft = msgspec.structs.replace(
        draft,
        title=line(draft.title, "title"),
        host_name=line(draft.host_name, "host_name"),
        languages=list(dict.fromkeys(draft.languages)),
        rules=paragraphs(draft.rules),
    )
    limit_rooms(request)
    host, now = new_participant_id(), time.time()
    room = await context.store.create_room(draft, host, now)
    claims = Claims(room.room, host, draft.host_name, Role.HOST, draft.languages[0])
    token = context.tokens.issue(claims, now)
    link = f"{context.settings.public_url.rstrip('/')}/r/{room.room}"
    created = RoomCreated(
        room=info(room, 0),
        token=token,
        participant=host,
        host_link=f"{link}#token={token}",
        invite_link=link,
    )
    return json_response(created, 201, {"Location": f"/api/rooms/{room.room}"})


async def get_room(request: web.Request) -> web.Response:
    context, id_ = of(request), request.match_info["room"]
    # Looking does not make this node follow the room.
    here = context.hub.rooms.get(id_)
    if here is not None:
        return json_response(info(await here.current(), here.listeners))
    room = await context.store.load_room(id_)
    return json_response(info(room, await context.store.listeners(id_)))


async def join(request: web.Request) -> web.Response:
    """A token for a new participant, who begins as a listener."""
    context = of(request)
    draft = await json_body(request, JoinDraft)
    name = line(draft.name, "name")
    limit_joins(request)
    # Whoever joins is about to listen or to read here: the room is followed from now on, and a
    # thousand who come together cost one look at the store.
    here = await context.hub.open(request.match_info["room"])
    room = await here.current()
    who, now = new_participant_id(), time.time()
    # A new id was never removed; this is about the room's end.
    admit(room, who)
    claims = Claims(room.room, who, name, Role.LISTENER, draft.speaks)
    joined = Joined(
        room=info(room, here.listeners),
        participant=who,
        token=context.tokens.issue(claims, now),
        role=role_of(room, who).value,
        captions_status=context.hub.status,
    )
    return json_response(joined, 201)


@dataclass(slots=True)
class _HttpReader:
    """Who asks over HTTP, as a reader of events."""

    participant: str
    role: Role
    captions: str | None
    in_sound: bool = False


async def post_command(request: web.Request) -> web.Response:
    context = of(request)
    room, claims = await participant(request)
    room.admit(claims.participant)
    limit_commands(context, claims)
    if request.content_type != "application/json":
        raise UnsupportedMediaType("The body has to be application/json.")
    command = decode_command(await body_of(request))
    poll = room.polls.get(claims.participant)
    reader = _reader(room, claims, poll[1] if poll is not None else None)
    replies = await execute_over_http(context.hub, room, claims, command, reader)
    if poll is not None:
        context.hub.polled(room, claims.participant, reader.captions)
    return json_response(Replies(replies))


async def get_events(request: web.Request) -> web.Response:
    """What happened after a cursor, as the asker may see it."""
    context = of(request)
    room, claims = await participant(request)
    room.admit(claims.participant)
    limit_commands(context, claims)
    captions = _query(request, "captions", Language, LANGUAGE_CODE)
    after = _query(request, "after", Cursor, "the cursor of an answer before")
    missed = await missed_events(context, room.id, after)
    latest = await context.store.latest_cursor(room.id) if missed is None else (after or "")
    await room.current()
    room.admit(claims.participant)
    context.hub.polled(room, claims.participant, captions)
    reader = _reader(room, claims, captions)
    if missed is None:
        told = [Envelope(m=event) for event in await _state(context, room, reader, latest)]
        return json_response(MissedEvents(cursor=latest, events=told, resumed=False))
    seen = ((cursor, seen_by(event, reader)) for cursor, event in missed)
    told = [Envelope(m=event, id=cursor) for cursor, event in seen if event is not None]
    cursor = missed[-1][0] if missed else latest
    return json_response(MissedEvents(cursor=cursor, events=told, resumed=True))


async def _state(context: Context, room: RoomHub, reader: _HttpReader, cursor: str) -> list[Event]:
    """The state now, as events, and the latest captions up to the cursor."""
    now = room.room
    events: list[Event] = [
        StageChanged(now.stage),
        HandsChanged(now.hands, len(now.hands)),
        Talking(list(room.talking)),
        Presence(room.listeners),
        CaptionsStatusChanged(context.hub.status),
    ]
    seen = [event for event in (seen_by(event, reader) for event in events) if event is not None]
    return [*seen, *map(CaptionPosted, await history(context.hub, room, reader.captions, cursor))]


async def get_captions(request: web.Request) -> web.Response:
    """What was said so far, as a file. An ended room's too, while it is kept."""
    room, claims = await participant(request)
    limit_commands(of(request), claims)
    now = await room.current()
    if claims.participant in now.removed:
        raise Forbidden("You were removed from this room.")
    language = _query(request, "lang", Language, LANGUAGE_CODE)
    name = request.query.get("format") or "json"
    if name not in transcript.FORMATS:
        raise BadMessage(f"format is one of {', '.join(transcript.FORMATS)}.")
    both = request.query.get("both") or "0"
    if both not in ("0", "1"):
        raise BadMessage("both is 1, for the original beside each translation, or 0.")
    captions = await of(request).store.captions(room.id, MAX_CAPTIONS)
    lines = transcript.lines_of(captions, language, both == "1")
    answer = transcript.Transcript(room.id, now.title, now.created_at, language, lines)
    write, content_type = transcript.FORMATS[name]
    return web.Response(
        text=write(answer),
        content_type=content_type,
        charset="utf-8",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'inline; filename="{transcript.file_name(answer, name)}"',
        },
    )


async def get_languages(request: web.Request) -> web.Response:
    status = of(request).hub.status
    return web.Response(
        body=encode_languages(languages(status)),
        content_type="application/json",
        headers={"Cache-Control": "no-cache"},
    )


# ------------------------------------------------------------------------------- inside


def _reader(room: RoomHub, claims: Claims, captions: str | None) -> _HttpReader:
    role = role_of(room.room, claims.participant, claims.role)
    return _HttpReader(claims.participant, role, captions)


def _query(request: web.Request, name: str, kind: Any, what: str) -> str | None:
    """A parameter of the address, None where it is missing or empty."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        converted: str = msgspec.convert(text, kind)
    except msgspec.ValidationError:
        raise BadMessage(f"{name} is {what}.") from None
    return converted


def line(text: str, what: str) -> str:
    """One line of text as people type it: nothing that is not seen (it hides text, turns its
    direction, or makes one name look like another), no white space around or doubled. Raises
    BadMessage when nothing is left."""
    kept = " ".join(_seen("".join(" " if c.isspace() else c for c in text)).split())
    # Cn, not assigned, is what newer emoji are to an older Python.
    if not any(
        unicodedata.category(c)[0] in "LNPS" or unicodedata.category(c) == "Cn" for c in kept
    ):
        raise BadMessage(f"The message is not valid: {what} is empty.")
    return kept


def paragraphs(text: str) -> str:
    """Some lines of text, without what is not seen."""
    return _seen(text.replace("\r\n", "\n")).strip()


def _seen(text: str) -> str:
    return "".join(
        c
        for c in text
        if c in _KEPT or (unicodedata.category(c) not in _UNSEEN and c not in _BLANK)
    )


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co"})
_KEPT = frozenset("\n\t\u200c\u200d")
"""Line breaks; joiners, which Persian, Indic scripts and emoji need."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that show nothing."""


def json_response(
    body: Record, status: int = 200, headers: dict[str, Any] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


async def healthz(request: web.Request) -> web.Response:
    """200 while Redis answers; for load balancers and supervisors."""
    context = of(request)
    try:
        await context.store.captions_status()
    except Unavailable:
        raise Unavailable("Redis does not answer.", retry_after_s=2) from None
    return web.json_response(
        {"status": "ok", "node": context.hub.node}, headers={"Cache-Control": "no-store"}
    )
