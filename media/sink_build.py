"""Builds `media._sink`, the receiving end of the load generator (cffi, API mode).

The declarations are those between the two markers in `native/sink.h`.
"""

from __future__ import annotations

import pathlib

from cffi import FFI

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ("sink", "sink_upkeep", "srtp", "crypt", "crypt_x86")


def declarations() -> str:
    """The C text that cffi reads."""
    text = (ROOT / "media/native/sink.h").read_text("utf-8")
    return text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "media._sink",
    '#include "sink.h"',
    sources=[f"media/native/{name}.c" for name in SOURCES],
    depends=[f"media/native/{p.name}" for p in sorted((ROOT / "media/native").glob("*.h"))],
    include_dirs=["media/native"],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
    libraries=["crypto", "pthread"],
)

if __name__ == "__main__":
    import os

    os.chdir(ROOT)
    ffibuilder.compile(verbose=True)
