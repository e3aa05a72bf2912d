"""WHIP and WHEP: sound in and out by one HTTP exchange (RFC 9725 and its sibling draft).

`POST /rooms/{room}/whip` publishes, `POST /rooms/{room}/whep` listens, both with an SDP offer and
a participant's bearer token; the answer names the session, `/sessions/{id}`, which is ended by
DELETE and changed by PATCH. Choices that the RFC leaves open:

- an offer without Opus is 406, a malformed one 400, a server with too many sessions 503;
- the media port is an ICE-lite agent that needs no client candidates, so a trickle fragment is
  read, checked and answered with 204;
- a fragment with a user name fragment other than the session's is an ICE restart; it needs an
  If-Match (428 without), `*` or the present ETag (412 otherwise), and gets a new ETag.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from chatroom.errors import BadMessage, BadOffer, Forbidden, TooLarge
from chatroom.protocol import Language
from chatroom.roles import Action, may
from chatroom.room import member_of
from media.events import MediaSession
from signaling.context import Context, body_of, claims_of, limit_joins, of, participant, role_now
from signaling.problems import (
    PreconditionFailed,
    PreconditionRequired,
    UnsupportedMediaType,
)
from signaling.room_hub import RoomHub, Session
from signaling.sdpfrag import MAX_FRAGMENT, matches, parse_fragment, quoted, ufrag_of
from signaling.tokens import Claims

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "86400",
}


def add_routes(app: web.Application) -> None:
    """The endpoints, and the CORS headers that let pages of other sites use them."""
    for path in ("/rooms/{room}/whip", "/rooms/{room}/whep"):
        app.router.add_route("OPTIONS", path, endpoint_options)
    app.router.add_post("/rooms/{room}/whip", publish)
    app.router.add_post("/rooms/{room}/whep", listen)
    app.router.add_route("OPTIONS", "/sessions/{session}", session_options)
    app.router.add_patch("/sessions/{session}", patch)
    app.router.add_delete("/sessions/{session}", delete)
    app.on_response_prepare.append(_cors)


async def _cors(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer of these addresses, problems included."""
    path = request.path
    if path.startswith("/sessions/") or path.endswith(("/whip", "/whep")):
        response.headers.update(_CORS)


async def endpoint_options(request: web.Request) -> web.Response:
    """What the endpoint takes; also the preflight of CORS."""
    headers = {**_PREFLIGHT, "Accept-Post": SDP, "Allow": "OPTIONS, POST"}
    return web.Response(status=200, headers=headers)


async def session_options(request: web.Request) -> web.Response:
    headers = {**_PREFLIGHT, "Accept-Patch": FRAGMENT, "Allow": "OPTIONS, PATCH, DELETE"}
    return web.Response(status=200, headers=headers)


async def publish(request: web.Request) -> web.Response:
    """WHIP. A participant has one publishing session: the port lets a new one replace the old."""
    context = of(request)
    room, claims = await _enter(request)
    # By the state now, not by what this node heard last: somebody may have been invited on
    # another node a moment ago.
    await room.refresh()
    on_stage = member_of(room.room, claims.participant) is not None
    if not on_stage or not may(role_now(room, claims), Action.PUBLISH):
        raise Forbidden("Only people on stage may publish; raise a hand to be invited.")
    offer = await _offer(request)
    # The offer may have taken its time: the room as it is followed now, or again.
    room = await context.hub.open(room.id)
    room.admit(claims.participant)
    session = await context.media.publish(room.id, claims.participant, offer)
    here = _remember(room, session, offer)
    # The stage may have changed while the offer was answered.
    await room.refresh()
    room.published(here)
    return _created(context, session)


async def listen(request: web.Request) -> web.Response:
    """WHEP. Several players of one participant are let in. One that reads room news in the sound
    (docs/in-band.md) says so by `?news=` and the language of captions, empty for originals."""
    context = of(request)
    room, claims = await _enter(request)
    news = _news(request)
    offer = await _offer(request)
    # The offer may have taken its time: the room as it is followed now, or again.
    room = await context.hub.open(room.id)
    await room.current()
    # Somebody removed while their offer came in must not be left with a session.
    room.admit(claims.participant)
    on_stage = member_of(room.room, claims.participant) is not None
    session = await context.media.listen(
        room.id, claims.participant, offer, on_stage=on_stage, news=room.news_for(news)
    )
    _remember(room, session, offer, news is not None)
    return _created(context, session)


async def patch(request: web.Request) -> web.Response:
    """Trickle (204) or ICE restart (200 with the server's fragment and a new ETag)."""
    context = of(request)
    claims_of(request)
    context.hub.check_replaced(request.match_info["session"])
    _, session, _ = await _owned(request)
    if request.content_type != FRAGMENT:
        raise UnsupportedMediaType(f"The body has to be {FRAGMENT}.")
    text = await _text(request, MAX_FRAGMENT)
    fragment = parse_fragment(text)
    restart = fragment.ufrag is not None and fragment.ufrag != session.ufrag
    if_match = request.headers.get("If-Match")
    etag = context.media.session(session.id).etag
    if restart and if_match is None:
        raise PreconditionRequired('An ICE restart needs If-Match: "*" or the session\'s ETag.')
    if if_match is not None and not matches(if_match, etag):
        raise PreconditionFailed("The session has another ETag by now.")
    if not restart:
        if fragment.ufrag is None and fragment.candidates == 0 and "end-of-cand" not in text:
            raise BadOffer("The fragment has neither candidates nor ICE credentials.")
        return web.Response(status=204, headers={"ETag": quoted(etag)})
    answer = await context.media.restart(session.id, text)
    session.ufrag = fragment.ufrag
    return web.Response(
        status=200,
        text=answer,
        content_type=FRAGMENT,
        headers={"ETag": quoted(context.media.session(session.id).etag)},
    )


async def delete(request: web.Request) -> web.Response:
    context = of(request)
    _, session, claims = await _owned(request, keepers=True)
    who = "its owner" if session.participant == claims.participant else "a host"
    await context.media.hang_up(session.id, f"ended by {who}")
    return web.Response(status=200)


# ------------------------------------------------------------------------------- inside


async def _enter(request: web.Request) -> tuple[RoomHub, Claims]:
    """Token, content type and room, in this order, before the offer is read."""
    claims = claims_of(request)
    if request.content_type != SDP:
        raise UnsupportedMediaType(f"The body has to be {SDP}.")
    limit_joins(request)
    room, claims = await participant(request)
    room.admit(claims.participant)
    return room, claims


async def _offer(request: web.Request) -> str:
    offer = await _text(request, 64 * 1024)
    if not offer.strip():
        raise BadOffer("The body is empty; an SDP offer is expected.")
    return offer


async def _text(request: web.Request, limit: int) -> str:
    body = await body_of(request)
    if len(body) > limit:
        raise TooLarge(f"The body may have {limit} bytes; this one has {len(body)}.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadOffer("SDP is UTF-8 text.") from None


async def _owned(request: web.Request, *, keepers: bool = False) -> tuple[RoomHub, Session, Claims]:
    """The session in the path, for its owner; with `keepers` for who may remove people too."""
    claims = claims_of(request)
    room, session = of(request).hub.session(request.match_info["session"])
    if claims.room != room.id:
        raise Forbidden("The session belongs to another room.")
    if claims.participant != session.participant and not (
        keepers and may(role_now(room, claims), Action.REMOVE)
    ):
        raise Forbidden("The session is somebody else's.")
    return room, session, claims


def _news(request: web.Request) -> str | None:
    """What is to be read in the sound: None for nothing, empty for originals alone. Raises
    BadMessage."""
    text = request.query.get("news")
    if not text:
        return text
    try:
        return msgspec.convert(text, Language)
    except msgspec.ValidationError:
        raise BadMessage("news is a language code such as en or zh-Hans, or empty.") from None


def _remember(room: RoomHub, session: MediaSession, offer: str, news: bool = False) -> Session:
    here = Session(
        id=session.id,
        room=room.id,
        participant=session.participant,
        kind=session.kind,
        ufrag=ufrag_of(offer),
        news=news,
    )
    room.remember(here)
    return here


def _created(context: Context, session: MediaSession) -> web.Response:
    response = web.Response(status=201, text=session.answer, content_type=SDP)
    response.headers["Location"] = f"/sessions/{session.id}"
    response.headers["ETag"] = quoted(session.etag)
    response.headers["Accept-Patch"] = FRAGMENT
    response.headers["Cache-Control"] = "no-store"
    for link in context.ice_links:
        response.headers.add("Link", link)
    return response
