"""A forwarder on aiortc's MediaRelay in one page: WHIP in, WHEP out. Compared with, not used."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay


async def main() -> None:
    relay = MediaRelay()
    peers: set[RTCPeerConnection] = set()
    source: asyncio.Future = asyncio.get_running_loop().create_future()

    async def answer(request: web.Request, peer: RTCPeerConnection) -> web.Response:
        peers.add(peer)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        if request.path == "/whep":
            peer.addTrack(relay.subscribe(await source))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(
            status=201, text=peer.localDescription.sdp, content_type="application/sdp"
        )

    async def whip(request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.on("track", lambda track: source.done() or source.set_result(track))
        return await answer(request, peer)

    async def whep(request: web.Request) -> web.Response:
        return await answer(request, RTCPeerConnection(RTCConfiguration(iceServers=[])))

    app = web.Application()
    app.add_routes([web.post("/whip", whip), web.post("/whep", whep)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
