"""The command `chatroom`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from chatroom.errors import ChatroomError
from signaling import config as configuration
from signaling.config import Config, ConfigError

log = logging.getLogger("chatroom")

_SWARM_HELP = "fill a room with listeners, and say how they fare"


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all went well, 1 when something could not be had, 2 when it was asked wrongly."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser(arguments).parse_args(arguments)
    if options.command == "config":
        from signaling.config_docs import default_file

        sys.stdout.write(default_file())
        return 0
    if options.command == "swarm":
        from signaling import swarm

        return swarm.run(options)
    try:
        loaded = configuration.load(options.config)
        if options.command == "worker":
            return _worker(loaded, child=options.child)
        if options.command == "models":
            from translate import cli

            root = options.root or Path(loaded.captions.models)
            return cli.run(
                options,
                root,
                mirror=loaded.captions.mirror,
                defaults=loaded.captions.fetch_models or None,
            )
        return _serve(loaded, options)
    except (ConfigError, ChatroomError, OSError) as error:
        print(f"chatroom: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatroom", description="Live audio rooms with translated captions."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    file_help = "configuration file (default: config.toml in the working directory, if there)"

    serve = commands.add_parser("serve", help="start the server, and a worker beside it")
    serve.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    serve.add_argument("--host", help="address to listen on, over server.host")
    serve.add_argument("--port", type=int, help="TCP port, over server.port; 0 for any")

    worker = commands.add_parser("worker", help="start a translation worker alone")
    worker.add_argument("--config", type=Path, metavar="FILE", help=file_help)
    worker.add_argument("--child", action="store_true", help=argparse.SUPPRESS)

    if "models" in arguments:
        # Their options live with the models, whose modules the other commands do not need.
        from translate import cli

        models = cli.add_parser(commands)
        models.add_argument("--config", type=Path, metavar="FILE", help=file_help)
        models.add_argument(
            "--root", type=Path, metavar="DIR", help="models' directory, over captions.models"
        )
    else:
        commands.add_parser("models", help="list, fetch and check the models of the captions")
    if "swarm" in arguments:
        from signaling import swarm

        swarm.add_parser(commands, _SWARM_HELP)
    else:
        commands.add_parser("swarm", help=_SWARM_HELP)
    commands.add_parser("config", help="print the default configuration file")
    return parser


def _log_to_stderr(config: Config, name: str) -> None:
    logging.basicConfig(
        level=config.server.log_level.upper(),
        format=f"%(asctime)s %(levelname)-7s {name} %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # Chatty about every peer, and sometimes about what peers send.
    for noisy in ("aiortc", "aioice", "asyncio", "aiohttp", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


# ------------------------------------------------------------------------------- serve


def _serve(loaded: Config, options: argparse.Namespace) -> int:
    server = loaded.server
    if options.host is not None:
        server = dataclasses.replace(server, host=options.host)
    if options.port is not None:
        if not 0 <= options.port <= 65535:
            raise ConfigError(f"--port {options.port} is not a whole number from 0 to 65535.")
        server = dataclasses.replace(server, port=options.port)
    loaded = dataclasses.replace(loaded, server=server)
    _log_to_stderr(loaded, "server")
    asyncio.run(_run_server(loaded, options.config))
    return 0


async def _run_server(loaded: Config, config_file: Path | None) -> None:
    from signaling import collector
    from signaling.app import Server

    stopping = _on_signal()
    server = Server(loaded, config_file=config_file)
    await server.start()
    collector.calm()
    try:
        print(f"chatroom is open at {server.url}", flush=True)
        await stopping.wait()
        log.info("stopping")
    finally:
        await server.stop()


def _on_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


# ------------------------------------------------------------------------------ worker


def _worker(loaded: Config, *, child: bool) -> int:
    _log_to_stderr(loaded, "worker")
    if child:
        from signaling.worker_process import give_way, leave_with_parent

        give_way()
        leave_with_parent()
    if not loaded.redis.url:
        raise ConfigError(
            "redis.url is empty: a worker on its own needs the Redis that the server uses "
            "(CHATROOM_REDIS_URL, or [redis] url in the file)."
        )
    asyncio.run(_run_worker(loaded))
    return 0


async def _run_worker(loaded: Config) -> None:
    import os
    import socket

    from chatroom.live import Live
    from chatroom.store import Store, connect_redis
    from translate.worker import Worker

    stopping = _on_signal()
    try:
        client = connect_redis(loaded.redis)
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}.") from None
    live = Live(client)
    store = Store(client, loaded.rooms)
    worker = Worker(loaded.captions, store, live, f"{socket.gethostname()}-{os.getpid()}")
    working = asyncio.create_task(worker.run())
    asked = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        try:
            await working
        except asyncio.CancelledError:
            log.debug("the worker has stopped")
    finally:
        asked.cancel()
        await live.aclose()
        await client.aclose()


if __name__ == "__main__":
    sys.exit(main())
