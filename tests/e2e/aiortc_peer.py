"""A WHIP publisher and a WHEP player that know nothing of the page: aiortc.

    aiortc_peer.py publish URL TOKEN SECONDS WAV
    aiortc_peer.py play URL TOKEN SECONDS

Prints JSON: for the player, packets received and the energy of what was decoded; for both, the
statuses of their HTTP exchanges.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack


async def take(track: MediaStreamTrack, heard: dict[str, float]) -> None:
    """Decode a track and add up what is in it."""
    try:
        while True:
            frame = await track.recv()
            samples = frame.to_ndarray().astype(np.float64) / 32768
            heard["frames"] += 1
            heard["energy"] += float(np.mean(samples**2)) * samples.size / frame.sample_rate / 2
    except MediaStreamError:
        return


async def main(role: str, url: str, token: str, seconds: str, *wav: str) -> None:
    heard = {"frames": 0.0, "energy": 0.0}
    # Without this aiortc asks a public STUN server.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tasks: list[asyncio.Task[None]] = []
    if role == "publish":
        pc.addTrack(MediaPlayer(wav[0], loop=True).audio)
    else:
        pc.addTransceiver("audio", direction="recvonly")
        pc.on("track", lambda track: tasks.append(asyncio.create_task(take(track, heard))))
    await pc.setLocalDescription(await pc.createOffer())
    bearer = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=bearer) as http:
        reply = await http.post(
            url, data=pc.localDescription.sdp, headers={"Content-Type": "application/sdp"}
        )
        answer = await reply.text()
        assert reply.status == 201, answer
        location = reply.url.join(reply.url.with_path(reply.headers["Location"]))
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.sleep(float(seconds))
        packets = sum(
            s.packetsReceived for s in (await pc.getStats()).values() if s.type == "inbound-rtp"
        )
        state = pc.connectionState
        gone = await http.delete(location)
        await pc.close()
    print(
        json.dumps(
            {**heard, "packets": packets, "state": state, "delete": gone.status, "post": 201}
        )
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
