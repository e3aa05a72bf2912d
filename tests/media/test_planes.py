import logging
import sys

import pytest

from media.planes import open_plane
from media.settings import MediaSettings


async def test_without_the_native_plane_auto_warns_and_takes_the_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "media.plane_native", None)
    caplog.set_level(logging.WARNING)
    plane = await open_plane(MediaSettings(host=["127.0.0.1"], port=0))
    assert plane.name == "python"
    assert "CPU" in caplog.text
    await plane.close()
    with pytest.raises(ImportError):
        await open_plane(MediaSettings(host=["127.0.0.1"], port=0, plane="native"))


async def test_the_python_plane_can_be_asked_for() -> None:
    plane = await open_plane(MediaSettings(host=["127.0.0.1"], port=0, plane="python"))
    assert plane.name == "python"
    await plane.close()


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    plane = await open_plane(MediaSettings(host=["127.0.0.1"], port=0, plane="python"))
    with pytest.raises(OSError, match="in use"):
        await open_plane(MediaSettings(host=["127.0.0.1"], port=plane.port, plane="python"))
    await plane.close()
