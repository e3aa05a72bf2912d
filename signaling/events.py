"""The room's WebSocket: `hello`, `welcome`, what was missed, then events and commands.

Errors over a socket that is open are `error` messages with the codes of `chatroom.errors`. What
only one message is wrong about leaves the connection up; who keeps sending such messages is
closed. A socket that is refused altogether gets a fatal `error` and a close code of its own,
since browsers show neither status nor body of a failed upgrade.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import WSMsgType, web

from chatroom.errors import (
    BadMessage,
    ChatroomError,
    CursorTooOld,
    TooLarge,
    Unavailable,
)
from chatroom.protocol import (
    MAX_MESSAGE_BYTES,
    Envelope,
    Event,
    HandsChanged,
    Hello,
    Message,
    StageChanged,
    decode_command,
    encode_json,
    type_of,
)
from signaling.commands import error_reply, execute, language_warning, welcome
from signaling.connection import (
    CLOSE_ENDED,
    CLOSE_FORBIDDEN,
    CLOSE_NOT_FOUND,
    CLOSE_POLICY,
    CLOSE_TOO_MANY,
    CLOSE_UNAUTHORIZED,
    CLOSE_UNAVAILABLE,
    Connection,
)
from signaling.context import Context, check_origin, limit_commands, of
from signaling.limits import Bucket
from signaling.problems import as_known
from signaling.room_hub import RoomHub

_CLOSE_CODES = {
    "unauthorized": CLOSE_UNAUTHORIZED,
    "forbidden": CLOSE_FORBIDDEN,
    "room_not_found": CLOSE_NOT_FOUND,
    "room_ended": CLOSE_ENDED,
    "too_many_requests": CLOSE_TOO_MANY,
    "unavailable": CLOSE_UNAVAILABLE,
}

_WHOLE = (StageChanged, HandsChanged)

# Messages over the limit get an error and the connection stays, up to this size; above it
# aiohttp stops reading and closes with 1009.
_READ_LIMIT = 4 * MAX_MESSAGE_BYTES

# Bad messages that one socket may send: ten at once, then one in five seconds.
_ABUSE_BURST = 10.0
_ABUSE_RATE = 0.2


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """`GET /api/rooms/{room}/ws`."""
    context = of(request)
    check_origin(request)
    if context.sockets >= context.settings.max_sockets:
        raise Unavailable("This server has as many connections as it takes.", retry_after_s=10)
    socket = web.WebSocketResponse(
        heartbeat=context.settings.heartbeat_s,
        max_msg_size=_READ_LIMIT,
        compress=False,
        timeout=2.0,
    )
    await socket.prepare(request)
    context.sockets += 1
    context.hub.stats.opened += 1
    try:
        await _converse(context, request, socket)
    finally:
        context.sockets -= 1
    return socket


async def _converse(context: Context, request: web.Request, socket: web.WebSocketResponse) -> None:
    connection: Connection | None = None
    room: RoomHub | None = None
    try:
        hello = await _hello(context, socket)
        if hello is None:
            return
        claims = context.tokens.read(hello.token, room=request.match_info["room"])
        room = await context.hub.open(claims.room)
        room.admit(claims.participant)
        transport = request.transport
        if transport is None:
            return
        connection = Connection(
            socket,
            transport,
            claims,
            hello.captions,
            buffer_bytes=context.settings.send_buffer_kib * 1024,
            stats=context.hub.stats,
        )
        # Added before anything is looked up: what comes meanwhile waits in the connection.
        room.add(connection)
        await _introduce(context, room, connection, hello)
        await _listen(context, room, connection, socket)
    except ConnectionResetError:
        pass
    except Exception as error:
        await _refuse(context, socket, as_known(error, context.incidents, "websocket"))
    finally:
        if room is not None and connection is not None:
            room.drop(connection)
            await connection.closed()


async def _hello(context: Context, socket: web.WebSocketResponse) -> Hello | None:
    """The first message; None when the client left instead. Raises BadMessage and TooLarge."""
    try:
        async with asyncio.timeout(context.settings.hello_timeout_s):
            message = await socket.receive()
    except TimeoutError:
        seconds = context.settings.hello_timeout_s
        raise BadMessage(f"No hello came within {seconds:g} s.") from None
    if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        return None
    if message.type is not WSMsgType.TEXT:
        raise BadMessage("Messages are JSON text.")
    command = decode_command(message.data)
    if not isinstance(command, Hello):
        raise BadMessage("The first message has to be hello.")
    return command


async def _introduce(context: Context, room: RoomHub, connection: Connection, hello: Hello) -> None:
    """Welcome, then what was missed since the cursor. Without a cursor, or with one that is too
    old, the state and the latest captions stand for everything before."""
    hub = context.hub
    missed = await missed_events(context, room.id, hello.cursor)
    if missed is not None and hello.cursor is not None:
        after = hello.cursor
    else:
        after = await hub.store.latest_cursor(room.id)
    await room.refresh()
    room.admit(connection.participant)
    resumed = missed is not None
    connection.introduce(
        await welcome(hub, room, connection.claims, connection.captions, after, resumed=resumed)
    )
    warning = language_warning(hub, room, connection.captions, "hello")
    if warning is not None:
        connection.reply(warning)
    connection.catch_up(missed or [], after)


async def missed_events(
    context: Context, room: str, cursor: str | None
) -> list[tuple[str, Event]] | None:
    """What was stored since the cursor; None when history starts anew. Of lists that are told
    whole the last one alone: two hundred hands that went up make two hundred lists."""
    if cursor is None:
        return None
    limit = context.settings.resume_events
    try:
        missed = await context.store.events_after(room, cursor, limit + 1)
    except CursorTooOld:
        return None
    if len(missed) > limit:
        return None
    latest: dict[type[object], str] = {
        type(event): at for at, event in missed if isinstance(event, _WHOLE)
    }
    return [(at, event) for at, event in missed if latest.get(type(event), at) == at]


async def _listen(
    context: Context, room: RoomHub, connection: Connection, socket: web.WebSocketResponse
) -> None:
    """Commands until the socket closes."""
    patience = Bucket(_ABUSE_RATE, _ABUSE_BURST, time.monotonic())
    async for message in socket:
        of_type: str | None = None
        try:
            if message.type is not WSMsgType.TEXT:
                raise BadMessage("Messages are JSON text.")
            if len(message.data) > MAX_MESSAGE_BYTES:
                raise TooLarge(f"A message may have {MAX_MESSAGE_BYTES} bytes.")
            limit_commands(context, connection.claims)
            command = decode_command(message.data)
            assert isinstance(command, Message)
            of_type = type_of(command)
            for reply in await execute(context.hub, room, connection.claims, command, connection):
                connection.reply(reply)
        except Exception as error:
            known = as_known(error, context.incidents, "command")
            abuse = isinstance(known, BadMessage | TooLarge) or known.code == "too_many_requests"
            if abuse and patience.take(time.monotonic()):
                close_code = CLOSE_TOO_MANY if known.code == "too_many_requests" else CLOSE_POLICY
                connection.fail(error_reply(known, of_type, fatal=True), close_code)
                return
            connection.reply(error_reply(known, of_type))


async def _refuse(context: Context, socket: web.WebSocketResponse, error: ChatroomError) -> None:
    """A fatal error and its close code."""
    if socket.closed:
        return
    envelope = Envelope(m=error_reply(error, fatal=True))
    try:
        await socket.send_str(encode_json(envelope).decode())
        await socket.close(
            code=_CLOSE_CODES.get(error.code, CLOSE_POLICY), message=error.code.encode()
        )
    except (ConnectionError, RuntimeError):
        return
