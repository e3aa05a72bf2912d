"""The media port: the face that the floor above uses. WHIP and WHEP sessions come and go, rooms
are routed, the data plane is fed.

Everything runs on one event loop. A session is closed by `hang_up`, by its peer, by silence
(consent), or because it never connected; whoever closes it, its events and its resources end the
same way, in `_end`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatroom.errors import RoomFull, SessionNotFound
from media import sdp
from media.addresses import advertised
from media.events import REPLACED, Frame, MediaEvents, MediaSession, SessionKind
from media.forward import Rules
from media.peer import Certificate, Peer
from media.plane import Address, IceCredentials, PeerHandle, Plane
from media.planes import open_plane
from media.router import Guard, Router
from media.sdp_shapes import read_offer
from media.settings import MediaSettings
from media.shedding import Shedding
from media.slots import Tuning
from media.ticker import Ticker

__all__ = ["Frame", "MediaEvents", "MediaPort", "MediaSession"]

logger = logging.getLogger(__name__)

MAX_REMEMBERED_ROOMS = 10_000
"""Rooms whose stage and mutes are kept while nobody of them is connected here."""


@dataclass(slots=True, eq=False)
class _Room:
    """What the floor above wants, kept from the first wish to `close_room`, and the router while
    there are sessions."""

    name: str
    stage: frozenset[str] = frozenset()
    muted: frozenset[str] = frozenset()
    router: Router | None = None
    sessions: dict[str, _Session] = dataclasses.field(default_factory=dict)
    listening: Counter[str] = dataclasses.field(default_factory=Counter)
    """Listening sessions by participant."""


@dataclass(slots=True, eq=False)
class _Session:
    public: MediaSession
    room: _Room
    handle: PeerHandle
    peer: Peer
    payload_type: int
    level_id: int | None
    slots: int
    timer: asyncio.TimerHandle
    news: str | None = None
    connected: bool = False


class MediaPort:
    """Made by `open`. Methods raise what `chatroom.errors` names in their text."""

    def __init__(self, settings: MediaSettings, events: MediaEvents, plane: Plane) -> None:
        self._settings = settings
        self._events = events
        self._plane = plane
        self._loop = asyncio.get_running_loop()
        addresses = advertised(settings.host, settings.advertise)
        self._candidates = [(address, plane.port) for address in addresses]
        self._cname = secrets.token_hex(8)
        self._certificate = Certificate.generate()
        self._rules = Rules(
            slots=settings.slots,
            tuning=Tuning(
                speech=127.0 - settings.speech_dbov,
                hold_s=settings.hold_ms / 1000,
                margin_db=float(settings.challenge_db),
                challenge_s=settings.challenge_ms / 1000,
            ),
            pack_60_from=settings.pack_60_from,
            pack_120_from=settings.pack_120_from,
            spread_s=settings.spread_ms / 1000,
            report_interval_s=settings.report_interval_s,
        )
        self._guard = Guard()
        self._ticker = Ticker(lambda tick, now: self._guard.run("timer", tick, now))
        self._rooms: dict[str, _Room] = {}
        self._sessions: dict[str, _Session] = {}
        self._by_handle: dict[PeerHandle, _Session] = {}
        self._listening = 0
        self._shedding = Shedding(plane, settings, self._guard, self._routers)
        self._connecting = 0
        """Sessions that are not connected yet."""
        self._closed = False
        plane.set_listener(self)

    @classmethod
    async def open(cls, settings: MediaSettings, events: MediaEvents) -> MediaPort:
        """Bind the port and make the certificate. Raises OSError where the port is taken,
        ValueError for addresses that are none, ImportError for a native plane that is wanted
        and not built."""
        advertised(settings.host, settings.advertise)
        plane = await open_plane(settings)
        logger.info("data plane %s on UDP port %d", plane.name, plane.port)
        return cls(settings, events, plane)

    @property
    def port(self) -> int:
        """The bound UDP port."""
        return self._plane.port

    @property
    def plane_name(self) -> str:
        """ "native" or "python"."""
        return self._plane.name

    # ------------------------------------------------------------------------- sessions

    async def publish(self, room: str, participant: str, offer: str) -> MediaSession:
        """WHIP: answer the offer. An earlier publishing session of the participant is replaced.
        Raises BadOffer, NoOpus, RoomFull."""
        parsed = read_offer(offer, kind="publish", max_sections=1)
        for session in list(self._room(room).sessions.values()):
            public = session.public
            if public.kind == "publish" and public.participant == participant:
                self._end(session, REPLACED)
        return self._begin("publish", room, participant, parsed)

    async def listen(
        self,
        room: str,
        participant: str,
        offer: str,
        *,
        on_stage: bool,
        news: str | None = None,
    ) -> MediaSession:
        """WHEP: answer the offer. `news`: see `set_captions`. Raises BadOffer, NoOpus, RoomFull;
        the last also where the machine can take no more listeners, but never for people on stage
        or who listen here."""
        parsed = read_offer(offer, kind="listen", max_sections=self._settings.slots)
        if not on_stage and participant not in self._room(room).listening:
            self._shedding.admit(self._listening)
        stage = self._room(room).stage
        if (participant in stage) != on_stage:
            self.set_stage(room, stage ^ {participant})
        return self._begin("listen", room, participant, parsed, news)

    async def restart(self, session_id: str, fragment: str) -> str:
        """ICE restart: the client's credentials in, ours out; the media goes on. Raises
        SessionNotFound, BadOffer."""
        session = self._session(session_id)
        theirs = sdp.parse_fragment(fragment)
        credentials = IceCredentials(*_new_credentials(), theirs.ufrag, theirs.password)
        self._plane.restart_peer(session.handle, credentials)
        session.public.etag = secrets.token_hex(8)
        return sdp.make_fragment(theirs, credentials=credentials, candidates=self._candidates)

    async def hang_up(self, session_id: str, reason: str) -> None:
        """Raises SessionNotFound."""
        self._end(self._session(session_id), reason)

    def session(self, session_id: str) -> MediaSession:
        """Raises SessionNotFound."""
        return self._session(session_id).public

    async def close_participant(self, room: str, participant: str, reason: str) -> None:
        """End all of somebody's sessions in a room."""
        known = self._rooms.get(room)
        for session in list(known.sessions.values()) if known else ():
            if session.public.participant == participant:
                self._end(session, reason)

    async def close_room(self, room: str, reason: str) -> None:
        """End all sessions of a room and forget it."""
        known = self._rooms.get(room)
        for session in list(known.sessions.values()) if known else ():
            self._end(session, reason)
        self._rooms.pop(room, None)

    # ---------------------------------------------------------------------------- rooms

    def set_stage(self, room: str, participants: frozenset[str]) -> None:
        """These listen as stage from now on, everybody else as audience."""
        known = self._room(room)
        known.stage = participants
        if known.router is not None:
            known.router.set_stage(participants, self._loop.time())
            self._ticker.watch(known.router)

    def set_muted(self, room: str, participant: str, muted: bool) -> None:
        """What a muted participant sends goes nowhere."""
        known = self._room(room)
        known.muted = known.muted | {participant} if muted else known.muted - {participant}
        if known.router is not None:
            known.router.set_muted(known.muted, self._loop.time())
            self._ticker.watch(known.router)

    def set_captions(self, session_id: str, news: str | None) -> None:
        """What a listening session reads in the sound from the next packet on: captions in a
        language, "" for originals alone, None for nothing (a plain player). People on stage are
        told nothing in the sound. Raises SessionNotFound."""
        session = self._session(session_id)
        session.news = news
        if session.connected and (router := session.room.router) is not None:
            router.set_news(session_id, news, self._loop.time())
            self._ticker.watch(router)

    def news_languages(self, room: str) -> frozenset[str]:
        """What is read in the sound here now."""
        router = self._router(room)
        return router.news_languages if router else frozenset()

    def bulletin(
        self, room: str, news: str, key: str, body: bytes, *, kept: bool, age_s: float = 0.0
    ) -> None:
        """Tell those who read this language in the sound. What is kept must not be missed; of
        the rest the newest under a key counts. `age_s`: how long ago it was that it is about.
        Raises ValueError for more than 16 KiB."""
        router = self._router(room)
        if router is not None:
            now = self._loop.time()
            router.bulletin(news, key, body, kept=kept, at=now - age_s, now=now)
            self._ticker.watch(router)

    def listeners(self, room: str) -> int:
        """Connected listening sessions here."""
        router = self._router(room)
        return router.listeners if router else 0

    def slots(self, room: str) -> tuple[str | None, ...]:
        """Who is heard now."""
        router = self._router(room)
        return router.talking if router else (None,) * self._settings.slots

    def stats(self) -> dict[str, Any]:
        """Counters of the plane and sums over the rooms, for JSON and metrics."""
        routers = list(self._routers())
        return {
            "plane": self._plane.name,
            "load": self._shedding.stats(),
            "rooms": len(routers),
            "sessions": len(self._sessions),
            "connecting": self._connecting,
            "publishers": sum(router.publishers for router in routers),
            "audience": sum(router.audience for router in routers),
            "stage": sum(router.listeners - router.audience for router in routers),
            "malformed_rtcp": sum(router.malformed_rtcp for router in routers),
            "errors": dict(self._guard.failures),
            **dataclasses.asdict(self._plane.stats()),
        }

    def room_stats(self, room: str) -> dict[str, Any]:
        """One room: who is there, packing, and how the audience said it receives since the last
        call. Empty where nobody is connected here."""
        router = self._router(room)
        return router.stats() if router else {}

    def peer_stats(self, session_id: str) -> dict[str, Any]:
        """Loss and jitter of one session: as received here for a publisher, as it last reported
        for a listener on stage, by SSRC. Raises SessionNotFound."""
        session = self._session(session_id)
        router = session.room.router
        out: dict[str, Any] = {"kind": session.public.kind, "connected": session.connected}
        if not session.connected or router is None:
            return out
        if session.public.kind == "publish":
            return out | router.publisher_stats(session_id)
        return out | {"reported": router.listener_stats(session_id)}

    async def close(self) -> None:
        """End every session and give the port back. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for session in list(self._sessions.values()):
            self._end(session, "the server is going down")
        self._ticker.close()
        self._shedding.close()
        await self._plane.close()

    # --------------------------------------------------------------------------- inside

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFound("This media session is over or never was.")
        return session

    def _router(self, room: str) -> Router | None:
        known = self._rooms.get(room)
        return known.router if known else None

    def _routers(self) -> Iterator[Router]:
        return (room.router for room in self._rooms.values() if room.router)

    def _room(self, name: str) -> _Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room(name)
            if len(self._rooms) > MAX_REMEMBERED_ROOMS:
                idle = next((r.name for r in self._rooms.values() if not r.sessions), name)
                if idle != name:
                    del self._rooms[idle]
        return room

    def _begin(
        self,
        kind: SessionKind,
        room_name: str,
        participant: str,
        offer: sdp.Offer,
        news: str | None = None,
    ) -> MediaSession:
        if len(self._sessions) >= self._settings.max_peers:
            raise RoomFull("This server takes no more connections now.", retry_after_s=10.0)
        # Speakers are few, and let in: without them there is nothing to hear.
        if kind == "listen" and self._connecting >= self._settings.max_connecting:
            raise RoomFull("Very many people are connecting just now.", retry_after_s=2.0)
        room = self._room(room_name)
        if room.router is None:
            room.router = Router(
                room_name, self._plane, self._rules, self._events, self._guard, self._cname
            )
            room.router.set_muted(room.muted, self._loop.time())
            self._shedding.begin(room.router)
        # One payload type serves all of a listener's slots.
        payload_type = offer.accepted[0].payload_type
        assert payload_type is not None
        taken = [one for one in offer.accepted if one.payload_type == payload_type]
        ssrcs = room.router.ssrcs(len(taken)) if kind == "listen" else (None,)
        credentials = IceCredentials(*_new_credentials(), offer.ice_ufrag, offer.ice_pwd)
        session_id = secrets.token_urlsafe(24)
        answer = sdp.make_answer(
            offer,
            credentials=credentials,
            fingerprints=self._certificate.fingerprints,
            candidates=self._candidates,
            sections={
                section.index: sdp.AnswerSection()
                if ssrc is None
                # All in one stream: a simple player plays the stream of the first track.
                else sdp.AnswerSection(ssrc, self._cname, f"room slot{number}")
                for number, (section, ssrc) in enumerate(zip(taken, ssrcs, strict=True))
            },
            ptime_ms=20,
            maxptime_ms=60 if kind == "publish" else 120,
        )
        handle = self._plane.add_peer(credentials)
        session: _Session
        peer = Peer(
            self._plane,
            handle,
            self._certificate,
            offer.fingerprints,
            offer.dtls_role,
            on_connected=lambda: self._guard.run("connect", self._connected, session),
            on_closed=lambda reason: self._end(session, reason),
            handshake_timeout_s=self._settings.connect_timeout_s,
        )
        session = _Session(
            public=MediaSession(
                session_id, kind, room_name, participant, answer, secrets.token_hex(8)
            ),
            room=room,
            handle=handle,
            peer=peer,
            payload_type=payload_type,
            level_id=taken[0].audio_level_id,
            slots=len(taken),
            timer=self._loop.call_later(
                self._settings.connect_timeout_s, lambda: self._end(session, "never connected")
            ),
            news=news,
        )
        self._sessions[session_id] = self._by_handle[handle] = session
        self._connecting += 1
        room.sessions[session_id] = session
        if kind == "listen":
            self._listening += 1
            room.listening[participant] += 1
        return session.public

    def _connected(self, session: _Session) -> None:
        """DTLS is done and the plane has the keys."""
        session.timer.cancel()
        session.connected = True
        self._connecting -= 1
        public, router = session.public, session.room.router
        assert router is not None
        now = self._loop.time()
        if public.kind == "publish":
            router.add_publisher(
                public.id,
                public.participant,
                session.handle,
                session.payload_type,
                session.level_id,
                now,
            )
        else:
            router.add_listener(
                public.id,
                public.participant,
                session.handle,
                session.payload_type,
                session.slots,
                on_stage=public.participant in session.room.stage,
                now=now,
                news=session.news,
            )
        self._ticker.watch(router)
        self._tell(session, "connected", "")

    def _end(self, session: _Session, reason: str) -> None:
        """Everything that ends with a session. Later calls do nothing."""
        public, room = session.public, session.room
        if self._sessions.pop(public.id, None) is None:
            return
        del self._by_handle[session.handle]
        self._connecting -= not session.connected
        room.sessions.pop(public.id, None)
        if public.kind == "listen":
            self._listening -= 1
            room.listening[public.participant] -= 1
            if not room.listening[public.participant]:
                del room.listening[public.participant]
        session.timer.cancel()
        if room.router is not None:
            self._guard.run("leave", room.router.remove, public.id, self._loop.time())
        self._guard.run("close", session.peer.close)
        self._plane.remove_peer(session.handle)
        if not room.sessions and room.router is not None:
            self._ticker.forget(room.router)
            room.router.close()
            room.router = None
            if not room.stage and not room.muted:
                self._rooms.pop(room.name, None)
        self._tell(session, "closed", reason)

    def _tell(self, session: _Session, state: str, reason: str) -> None:
        public = session.public
        self._guard.run(
            "session_changed",
            self._events.session_changed,
            public.room,
            public.participant,
            public.id,
            public.kind,
            state,
            reason,
        )

    # -------------------------------------------------------------------- PlaneListener

    def address_validated(self, peer: PeerHandle, address: Address, now: float) -> None:
        session = self._by_handle.get(peer)
        if session is not None:
            session.peer.start()

    def datagram_received(self, peer: PeerHandle, data: bytes, now: float) -> None:
        session = self._by_handle.get(peer)
        if session is not None:
            session.peer.datagram_received(data)

    def rtp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None:
        session = self._by_handle.get(peer)
        if session is not None and (router := session.room.router) is not None:
            router.rtp_received(session.public.id, packet, now)
            self._ticker.watch(router)

    def rtcp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None:
        session = self._by_handle.get(peer)
        if session is not None and (router := session.room.router) is not None:
            router.rtcp_received(session.public.id, packet, now)

    def peer_expired(self, peer: PeerHandle, now: float) -> None:
        session = self._by_handle.get(peer)
        if session is not None:
            self._end(session, "consent" if session.connected else "never connected")


def _new_credentials() -> tuple[str, str]:
    """Our side's ufrag and password (RFC 8445, section 5.3)."""
    return secrets.token_hex(6), secrets.token_hex(16)
