"""What the router makes of instructions; the sound through it is in test_port."""

import logging

import pytest

from media.events import Frame
from media.forward import Rules
from media.plane_py import open_python_plane
from media.router import Guard, Router
from tests.media.conftest import new_credentials


class Silent:
    def talking_changed(self, room: str, slots: tuple[str | None, ...]) -> None: ...

    def frame_received(self, room: str, participant: str, frame: Frame) -> None: ...

    def session_changed(
        self, room: str, participant: str, session: str, kind: str, state: str, reason: str
    ) -> None: ...


async def test_groups_are_there_while_somebody_is_in_them() -> None:
    plane = await open_python_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    router = Router("r", plane, Rules(), Silent(), Guard(), "cname")
    handles = {name: plane.add_peer(new_credentials()) for name in "xyz"}
    for name, slots in (("x", 3), ("y", 3), ("z", 1)):
        router.add_listener(name, name, handles[name], 111, slots, on_stage=False, now=0.0)
    assert plane.stats().groups == 2
    assert (router.listeners, router.stats()["audience"]) == (3, 3)
    router.set_stage(frozenset("z"), 0.0)
    assert plane.stats().groups == 1
    assert (router.listeners, router.stats()["stage"]) == (3, 1)
    router.remove("x", 0.0)
    router.remove("x", 0.0)
    assert plane.stats().groups == 1
    router.close()
    assert plane.stats().groups == 0
    await plane.close()


async def test_malformed_rtcp_is_counted() -> None:
    plane = await open_python_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    router = Router("r", plane, Rules(), Silent(), Guard(), "cname")
    router.rtcp_received("nobody", b"\x81\xc8\x00\x50", 0.0)
    assert router.stats()["malformed_rtcp"] == 1
    await plane.close()


def test_a_guard_counts_and_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard()

    def fail(what: str) -> None:
        raise RuntimeError(what)

    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            guard.run("cause", fail, "it broke")
    assert guard.failures == {"cause": 5}
    assert caplog.text.count("it broke") == 2  # the line and its traceback
