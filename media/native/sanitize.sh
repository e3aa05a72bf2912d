#!/bin/bash
# Builds the native core's own test with the address and undefined-behaviour sanitizers, then with
# the thread sanitizer, and runs it under each. Debian: gcc, libssl-dev (gcc brings the runtimes).
# Usage: sanitize.sh [address|thread]...
set -euo pipefail
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
sources=(test_core.c bench.c core.c crypt.c crypt_x86.c events.c feedback.c groups.c peers.c
         receive.c send.c srtp.c stun.c table.c)
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

run() { # name, flags
    echo "== $1"
    "${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer -Wall -Wextra $2 \
        "${sources[@]}" -o "$out/$1" -lcrypto -lpthread
    # The thread sanitizer's shadow memory does not fit beside a fully random address space.
    if setarch -R true 2>/dev/null; then setarch -R "$out/$1"; else "$out/$1"; fi
}

for which in "${@:-address thread}"; do
    for name in $which; do
        case $name in
        address) run address "-fsanitize=address,undefined -fno-sanitize-recover=all" ;;
        thread) run thread "-fsanitize=thread" ;;
        plain) run plain "-O2" ;;
        *) echo "unknown sanitizer: $name" >&2; exit 2 ;;
        esac
    done
done
echo "== clean"
