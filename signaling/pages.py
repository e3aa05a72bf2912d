"""The page and its files, served from `signaling/web/`."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from chatroom.errors import NotFound
from chatroom.ids import is_room_id

WEB = Path(__file__).parent / "web"

_REVALIDATE = {"Cache-Control": "no-cache"}
"""Files have an ETag and are asked for again with it: a new version is seen at once."""

_KINDS = {
    ".html", ".css", ".js", ".json", ".svg", ".png", ".ico", ".webmanifest", ".woff2", ".wasm",
}  # fmt: skip


def add_routes(app: web.Application) -> None:
    app.router.add_get("/", index)
    app.router.add_get("/r/{room}", room)
    app.router.add_get("/static/{path:.+}", static)
    app.router.add_get("/favicon.ico", favicon)


async def index(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(WEB / "index.html", headers=_REVALIDATE)


async def room(request: web.Request) -> web.StreamResponse:
    """The same page for every room; it asks for the room itself and says what is wrong."""
    status = 200 if is_room_id(request.match_info["room"]) else 404
    return web.FileResponse(WEB / "room.html", status=status, headers=_REVALIDATE)


async def static(request: web.Request) -> web.StreamResponse:
    """A file below `web/`; kinds that browsers use alone, no directories, nothing outside."""
    try:
        path = (WEB / request.match_info["path"]).resolve()
        found = path.is_relative_to(WEB) and path.suffix in _KINDS and path.is_file()
    except (OSError, ValueError):  # what can be no file's name
        found = False
    if not found:
        raise NotFound("There is nothing at this address.")
    return web.FileResponse(path, headers=_REVALIDATE)


async def favicon(request: web.Request) -> web.StreamResponse:
    """For browsers that ask without being told of the icon."""
    mark = WEB / "img" / "mark.svg"
    if not mark.is_file():
        raise NotFound("There is nothing at this address.")
    return web.FileResponse(mark, headers=_REVALIDATE)
