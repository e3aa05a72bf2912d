"""The C extensions, where they can be built; everything else is in pyproject.toml.

Both are optional: without a C compiler or OpenSSL's headers the install says what is missing and
goes on, and the server runs on the Python data plane.
"""

import pathlib
import runpy
import sys

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).resolve().parent
WITHOUT = {
    "media._native": "rooms are served by the slower Python data plane",
    "media._sink": "`chatroom swarm`, the load generator, is not available",
}


class OptionalBuild(build_ext):
    """Builds what can be built, and says what could not."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except Exception as error:
            print(
                f"\n*** {ext.name} was not built, so {WITHOUT[ext.name]}.\n"
                "*** It takes a C compiler and OpenSSL's headers (Debian: gcc, libssl-dev).\n"
                f"*** {error}\n",
                file=sys.stderr,
            )
            ext.optional = True


def extensions():
    """What the build script describes."""
    described = runpy.run_path(str(ROOT / "media/native_build.py"))
    found = [described["builder"](name).distutils_extension() for name in WITHOUT]
    for extension in found:
        extension.optional = True
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
