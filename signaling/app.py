"""The server, put together: what is started, in which order, and what is stopped, in reverse
(`docs/closing.md`)."""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from chatroom.errors import Unavailable
from chatroom.live import Live
from chatroom.redis_server import EmbeddedRedis
from chatroom.store import Store, connect_redis
from media.port import MediaPort
from media.settings import MediaSettings
from signaling import api, descriptors, pages, whip
from signaling.config import Config, ConfigError
from signaling.context import CONTEXT, Context, security_headers
from signaling.hub import Hub
from signaling.limits import Network, networks
from signaling.media_bridge import MediaBridge
from signaling.metrics import metrics
from signaling.problems import Incidents, errors_middleware
from signaling.sdpfrag import ice_links
from signaling.tokens import Tokens
from signaling.worker_process import WorkerProcess

log = logging.getLogger(__name__)

_SHUTDOWN_S = 3.0
_BACKLOG = 4096
"""Connections that may wait to be accepted: a link in a chat brings thousands in a second."""


class Server:
    """One node. `start` raises ConfigError for settings that only show to be wrong when used,
    Unavailable when Redis cannot be had, and OSError when a port cannot be bound; what was
    started until then is stopped again."""

    def __init__(self, config: Config, *, config_file: Path | None = None) -> None:
        self.config = config
        self.context: Context
        self.worker: WorkerProcess | None = None
        self._config_file = config_file
        self._stack = AsyncExitStack()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()

    async def _start(self, stack: AsyncExitStack) -> None:
        wanted = self.config.server
        settings = dataclasses.replace(wanted, max_sockets=descriptors.provide(wanted.max_sockets))
        proxies, links = _parsed(self.config)

        url = self.config.redis.url
        if not url:
            embedded = EmbeddedRedis(self.config.redis.data, fsync=self.config.redis.fsync)
            await embedded.start()
            stack.push_async_callback(embedded.stop)
            url = embedded.url
        try:
            client = connect_redis(self.config.redis, url)
        except ValueError as error:
            raise ConfigError(f"redis.url: {error}.") from None
        stack.push_async_callback(client.aclose)
        store = Store(client, self.config.rooms, timeout_s=self.config.redis.timeout_s + 1.0)
        live = Live(client)
        stack.push_async_callback(live.aclose)
        tokens = Tokens(
            await _secret(store, self.config.redis.url), lifetime_s=settings.token_lifetime_h * 3600
        )

        incidents = Incidents()
        hub = Hub(
            store, live, _node_name(), settings, incidents, only_node=not self.config.redis.url
        )
        stack.push_async_callback(hub.close)
        bridge = MediaBridge(hub, settings.bus_batch_ms / 1000)
        media = await _open_media(self.config.media, bridge)
        stack.push_async_callback(media.close)
        await hub.start(media)

        self.context = Context(
            settings, store, live, hub, media, bridge, tokens, incidents, proxies, links
        )
        # Ends the connections that are open; sockets are told before (`on_shutdown`).
        runner = web.AppRunner(
            make_app(self.context),
            access_log=None,
            shutdown_timeout=_SHUTDOWN_S,
            keepalive_timeout=settings.keep_alive_s,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, settings.host, settings.port, backlog=_BACKLOG).start()
        except OSError as error:
            where = f"server.host {settings.host!r}, server.port {settings.port} (TCP)"
            raise OSError(f"HTTP cannot listen at {where}: {error.strerror or error}.") from None
        self._runner = runner

        if settings.worker:
            self.worker = WorkerProcess(self._config_file, {"CHATROOM_REDIS_URL": url})
            self.worker.start()
            stack.push_async_callback(self.worker.stop)
        log.info("sound on UDP port %d (%s plane)", media.port, media.plane_name)

    async def stop(self) -> None:
        """Everything in reverse. Harmless when nothing runs."""
        await self._stack.aclose()

    @property
    def port(self) -> int:
        """The TCP port that HTTP listens on."""
        assert self._runner is not None
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        """Where people find the server."""
        settings = self.config.server
        if settings.public_url:
            return settings.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"http://{host}:{self.port}"


def make_app(context: Context) -> web.Application:
    """The HTTP face."""
    app = web.Application(
        middlewares=[errors_middleware(context.incidents)],
        client_max_size=context.settings.max_body_kib * 1024,
    )
    app[CONTEXT] = context
    api.add_routes(app)
    whip.add_routes(app)
    pages.add_routes(app)
    app.router.add_get("/healthz", api.healthz)
    app.router.add_get("/metrics", metrics)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        security_headers(request, response)

    async def goodbye(app: web.Application) -> None:
        await context.hub.say_goodbye()

    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(goodbye)
    return app


def _parsed(config: Config) -> tuple[list[Network], list[str]]:
    """Settings whose form is more than a type. Raises ConfigError."""
    try:
        proxies = networks(config.server.trusted_proxies)
    except ValueError as error:
        raise ConfigError(f"server.trusted_proxies: {error}.") from None
    try:
        links = ice_links(config.server.ice_servers)
    except ValueError as error:
        raise ConfigError(f"server.ice_servers: {error}.") from None
    _check_urls([config.server.public_url] if config.server.public_url else [], "server.public_url")
    _check_urls(config.server.allowed_origins, "server.allowed_origins")
    return proxies, links


def _check_urls(urls: list[str], key: str) -> None:
    for url in urls:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"{key}: {url!r} is no address such as https://rooms.example.org.")


async def _secret(store: Store, url: str) -> bytes:
    """The token key. Raises Unavailable, in words for the operator."""
    try:
        return await store.secret("jwt")
    except Unavailable as error:
        if not url:
            raise
        # Without user name and password.
        where = url.rpartition("@")[2] if "@" in url else url
        raise Unavailable(f"Redis at {where} (redis.url) cannot be used: {error.message}") from None


async def _open_media(settings: MediaSettings, events: MediaBridge) -> MediaPort:
    """Raises ConfigError and OSError, in words for the operator."""
    try:
        return await MediaPort.open(settings, events)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"[media] cannot be used: {error}.") from None
    except OSError as error:
        where = f"media.host {', '.join(settings.host)}, media.port {settings.port} (UDP)"
        raise OSError(f"Sound cannot use {where}: {error.strerror or error}.") from None


def _node_name() -> str:
    """Unique among nodes and restarts; says to people which machine it is."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(3)}"
