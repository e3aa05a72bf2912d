"""`chatroom swarm` against a real server: what it reports is what happened."""

import pytest

from media.settings import MediaSettings
from signaling.app import Server
from signaling.swarm import Swarm, SwarmError, SwarmPlan, check_target, quantiles
from signaling.swarm_readers import masked
from tests.signaling.conftest import Starter


def test_only_ones_own_server_is_loaded() -> None:
    check_target("http://127.0.0.1:8080", own_target=False)
    check_target("http://[::1]:8080", own_target=False)
    with pytest.raises(SwarmError, match="--own-target"):
        check_target("http://192.0.2.1:8080", own_target=False)
    check_target("http://192.0.2.1:8080", own_target=True)
    with pytest.raises(SwarmError, match="names no host"):
        check_target("8080", own_target=False)


def test_quantiles() -> None:
    assert quantiles([3.0, 1.0, 2.0], 0.0, 0.5, 1.0) == [1.0, 2.0, 3.0]
    assert quantiles([], 0.5) == [None]


def test_client_frames_are_masked() -> None:
    frame = masked(b"hello")
    assert frame[0] == 0x81
    assert frame[1] == 0x80 | 5
    key, body = frame[2:6], frame[6:]
    assert bytes(b ^ key[i % 4] for i, b in enumerate(body)) == b"hello"
    assert masked(bytes(300))[1:4] == b"\xfe\x01\x2c"


@pytest.mark.parametrize("plane", ["python", "native"])
async def test_listeners_hear_every_speaker(start: Starter, plane: str) -> None:
    media = MediaSettings(
        host=["127.0.0.1"], port=0, advertise=["127.0.0.1"], plane=plane, pack_60_from=1
    )
    server: Server = await start(media)
    plan = SwarmPlan(
        url=server.url,
        listeners=12,
        speakers=2,
        websockets=2,
        rate=100,
        duration_s=3.0,
        sample=4,
        first_address="127.5.0.1",
        captions=["en", "es"],
    )
    report = await Swarm(plan).run()
    assert report["failures"] == {}
    assert report["listeners"] == 12
    assert report["silent_listeners"] == 0
    assert report["packets_lost"] == 0
    assert report["sampled"] == 4
    assert report["sampled_wrong"] == 0
    assert report["sampled_out_of_order"] == 0
    assert report["sampled_undecryptable"] == 0
    assert report["sampled_frames"] > 4 * 2 * 50
    assert 55 <= report["packing_ms"] <= 60  # the first packets may be cut short
    assert report["readers"] == 2
    assert report["delay_ms_p50"] < report["delay_with_packing_ms_p99"]


async def test_speakers_of_a_given_room_need_its_token(server: Server) -> None:
    plan = SwarmPlan(url=server.url, room="abcdefgh", listeners=1, first_address="127.5.1.1")
    with pytest.raises(SwarmError, match="--token"):
        await Swarm(plan).run()
