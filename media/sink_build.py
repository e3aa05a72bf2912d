"""Builds `media._sink`, the receiving end of the load generator (cffi, API mode)."""

import pathlib

from cffi import FFI

HERE = pathlib.Path(__file__).parent
ffibuilder = FFI()
ffibuilder.cdef(
    """
typedef struct sink sink;
typedef struct {
    uint64_t packets, bytes, lost, duplicates, reordered;
    uint64_t rtcp, unknown, overflow, not_passed, cpu_ns;
} sink_totals;
typedef struct {
    uint64_t packets, lost, duplicates, reordered, first_ns, last_ns, longest_gap_ns;
} sink_client;
sink *sink_open(uint32_t first_address, uint32_t clients, int receive_buffer, int pass_fd);
int sink_port(const sink *s);
int sink_buffer(const sink *s);
void sink_sample(sink *s, uint32_t client, int on);
void sink_reset(sink *s, uint32_t client);
void sink_read(sink *s, uint32_t client, sink_client *out);
void sink_sum(sink *s, sink_totals *out);
int sink_send(sink *s, uint32_t client, uint32_t to_address, uint16_t to_port,
              const void *data, size_t size);
void sink_close(sink *s);
"""
)
ffibuilder.set_source(
    "media._sink",
    '#include "sink.h"',
    sources=[str((HERE / "native" / "sink.c").relative_to(HERE.parent))],
    include_dirs=[str((HERE / "native").relative_to(HERE.parent))],
    extra_compile_args=["-std=c11", "-O2"],
    libraries=["pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
