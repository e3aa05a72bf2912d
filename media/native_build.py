"""Builds the C extensions (cffi, API mode): `media._native`, the native data plane, and
`media._sink`, the receiving end of the load generator.

What cffi reads of each is between the two markers in its header, so that there is one face and
not two. Run by setup.py; or by hand, to build both in place: `python media/native_build.py`.
"""

from __future__ import annotations

import pathlib

from cffi import FFI

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRYPTO = ("crypt", "crypt_x86", "srtp")
SOURCES = {
    "media._native": (
        *CRYPTO, "bench", "core", "events", "feedback", "groups", "peers", "receive", "send",
        "stun", "table",
    ),
    "media._sink": (*CRYPTO, "sink", "sink_upkeep"),
}  # fmt: skip
HEADERS = {"media._native": "core.h", "media._sink": "sink.h"}


def declarations(header: str) -> str:
    """The C text that cffi reads."""
    text = (ROOT / "media/native" / header).read_text("utf-8")
    return text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]


def builder(module: str) -> FFI:
    """What makes one of the extensions; its paths are relative to the repository's root."""
    ffi = FFI()
    ffi.cdef(declarations(HEADERS[module]))
    ffi.set_source(
        module,
        f'#include "{HEADERS[module]}"',
        sources=[f"media/native/{name}.c" for name in SOURCES[module]],
        depends=[f"media/native/{p.name}" for p in sorted((ROOT / "media/native").glob("*.h"))],
        include_dirs=["media/native"],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
        libraries=["crypto", "pthread"],
    )
    return ffi


if __name__ == "__main__":
    import os

    os.chdir(ROOT)
    for name in SOURCES:
        builder(name).compile(verbose=True)
