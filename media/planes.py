"""Which data plane is used."""

from __future__ import annotations

import logging

from media.plane import Plane
from media.plane_py import open_python_plane
from media.settings import MediaSettings

logger = logging.getLogger(__name__)


async def open_plane(settings: MediaSettings) -> Plane:
    """The plane that the settings ask for, bound. Raises OSError where the port is taken,
    ValueError for hosts that are no addresses, ImportError for a native plane that is wanted
    and not built."""
    timeout = settings.consent_timeout_s
    if settings.plane != "python":
        try:
            from media.plane_native import open_native_plane
        except ImportError as error:
            if settings.plane == "native":
                raise
            logger.warning(
                "the native data plane is not built (%s): the Python one takes its place, at "
                "about fifty times the CPU a packet; build it with: pip install -e .",
                error,
            )
        else:
            return await open_native_plane(settings.host, settings.port, consent_timeout_s=timeout)
    return await open_python_plane(settings.host, settings.port, consent_timeout_s=timeout)
