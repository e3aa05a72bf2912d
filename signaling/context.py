"""What the HTTP handlers work with, and the checks that several of them share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from chatroom.errors import BadMessage, BadRequest, Forbidden, TooManyRequests
from chatroom.live import Live
from chatroom.roles import Role
from chatroom.room import role_of
from chatroom.store import Store
from signaling.hub import Hub
from signaling.limits import Buckets, Network, client_address, is_loopback
from signaling.media_bridge import MediaBridge
from signaling.problems import Incidents, UnsupportedMediaType
from signaling.room_hub import RoomHub
from signaling.settings import ServerSettings
from signaling.tokens import Claims, Tokens, bearer

if TYPE_CHECKING:
    from media.port import MediaPort

T = TypeVar("T")

BODY_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Context:
    """The parts of one server."""

    settings: ServerSettings
    store: Store
    live: Live
    hub: Hub
    media: MediaPort
    bridge: MediaBridge
    tokens: Tokens
    incidents: Incidents
    proxies: list[Network]
    ice_links: list[str]
    started: float = field(default_factory=time.monotonic)
    sockets: int = 0
    rooms_created: Buckets = field(init=False)
    joins: Buckets = field(init=False)
    commands: Buckets = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.rooms_created = Buckets(settings.rooms_per_minute / 60.0, settings.rooms_at_once)
        self.joins = Buckets(settings.joins_per_second, settings.joins_at_once)
        self.commands = Buckets(settings.commands_per_second, settings.commands_at_once)


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)


def of(request: web.Request) -> Context:
    return request.app[CONTEXT]


def claims_of(request: web.Request) -> Claims:
    """What the request's bearer token says; it must be for the room in the path, if one is.
    Raises Unauthorized or Forbidden."""
    token = bearer(request.headers.get("Authorization"))
    return of(request).tokens.read(token, room=request.match_info.get("room"))


async def participant(request: web.Request) -> tuple[RoomHub, Claims]:
    """The room and who asks; somebody without a good token learns nothing of the room."""
    claims = claims_of(request)
    room = await of(request).hub.open(claims.room)
    return room, claims


def role_now(room: RoomHub, claims: Claims) -> Role:
    return role_of(room.room, claims.participant, claims.role)


async def body_of(request: web.Request) -> bytes:
    """The whole body. Raises BadRequest where it does not come in time: who sends a byte a minute
    must not hold a connection for ever."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise BadRequest(f"The body did not come within {BODY_TIMEOUT_S:g} s.") from None


async def json_body(request: web.Request, kind: type[T]) -> T:
    """The JSON body in the given shape. Raises UnsupportedMediaType and BadMessage."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType("The body has to be application/json.")
    try:
        return msgspec.json.decode(await body_of(request), type=kind)
    except msgspec.ValidationError as error:
        raise BadMessage(f"The body is not valid: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"The body is not JSON: {error}.") from None


def limit_rooms(request: web.Request) -> None:
    """Raises TooManyRequests when an address creates rooms too quickly."""
    context = of(request)
    wait = context.rooms_created.take(_address(request), time.monotonic())
    if wait:
        raise TooManyRequests("Too many rooms from your address.", retry_after_s=wait)


def limit_joins(request: web.Request) -> None:
    """Raises TooManyRequests when an address brings participants or sessions too quickly."""
    address = _address(request)
    if is_loopback(address):
        return
    wait = of(request).joins.take(address, time.monotonic())
    if wait:
        raise TooManyRequests("Too many people join from your address.", retry_after_s=wait)


def _address(request: web.Request) -> str:
    # Some proxies add a header of their own below what the client sent.
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
    return client_address(request.remote or "", forwarded, of(request).proxies)


def limit_commands(context: Context, claims: Claims) -> None:
    """Raises TooManyRequests when a participant sends commands too quickly."""
    wait = context.commands.take(f"{claims.room}/{claims.participant}", time.monotonic())
    if wait:
        raise TooManyRequests("You send commands too quickly.", retry_after_s=wait)


def check_origin(request: web.Request) -> None:
    """Pages of other sites may not open WebSockets in a visitor's name. Raises Forbidden. A
    client that is no browser sends no Origin, and is let through."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    settings = of(request).settings
    allowed = {_origin(url) for url in [*settings.allowed_origins, settings.public_url] if url}
    if origin.lower() in allowed:
        return
    with contextlib.suppress(ValueError):  # what is no URL is no origin of ours
        if origin != "null" and urlsplit(origin).netloc.lower() == request.host.lower():
            return
    raise Forbidden("Pages of this origin may not connect here (server.allowed_origins).")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


def security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every answer: nothing from elsewhere, nothing inline, no guessing of types."""
    headers = response.headers
    for name, value in _security_headers(request.host):
        headers.setdefault(name, value)


@functools.lru_cache(maxsize=64)
def _security_headers(host: str) -> tuple[tuple[str, str], ...]:
    sockets = ""
    if _HOST.fullmatch(host):
        # 'self' covers ws: in newer browsers only.
        sockets = f" ws://{host} wss://{host}"
    return (
        (
            "Content-Security-Policy",
            f"default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data:; "
            "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Permissions-Policy", "microphone=(self), camera=(), geolocation=(), payment=()"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    )
