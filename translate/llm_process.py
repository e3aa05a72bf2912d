"""llama.cpp in a process of its own: `python -m translate.llm_process MODEL THREADS SLOTS TOKENS`.

It holds the interpreter's lock for seconds while it loads, takes two gigabytes, and a fault in it
ends its process: none of that may befall the worker, which must keep its leases. One JSON object
a line on standard input, `{"prompt", "tokens", "slot"}`, gives one on standard output, `{"text"}`
or `{"error"}`; first comes `{"ready": true}`. It ends when its input does, so also when the
worker is killed.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

LOAD_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0


class LlmFailed(Exception):
    """The process is gone, said nothing in time, or said that it cannot."""


class LlmProcess:
    """The parent's end. Not safe for several threads at once. Raises LlmFailed, after which the
    process is gone."""

    def __init__(self, model: Path, threads: int, slots: int, slot_tokens: int) -> None:
        command = [sys.executable, "-m", "translate.llm_process", str(model)]
        command += [str(number) for number in (threads, slots, slot_tokens)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,  # Ctrl-C is for the worker, which ends this one
        )
        self._rest = b""
        self._read(LOAD_TIMEOUT_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    def complete(self, prompt: str, tokens: int, slot: int) -> str:
        """What the model says after `prompt`, at most `tokens` tokens, one line."""
        request = json.dumps({"prompt": prompt, "tokens": tokens, "slot": slot})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            self.close()
            raise LlmFailed("its process ended") from None
        return str(self._read(ANSWER_TIMEOUT_S).get("text", ""))

    def close(self) -> None:
        """End the process and wait for its end."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # words that nobody reads any more
                    continue

    def _read(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        end = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                self.close()
                raise LlmFailed(f"it said nothing within {timeout_s:g} s")
            block = os.read(self._process.stdout.fileno(), 1 << 16)
            if not block:
                self.close()
                raise LlmFailed("its process ended")
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise LlmFailed(str(answer["error"]))
        return answer


# --------------------------------------------------------------------- the process itself


def _load(model: str, threads: int, slots: int, slot_tokens: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel = slots
    params.n_ctx = slot_tokens * slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0
    params.fit_params = False
    params.warmup = False
    params.verbosity = 0
    params.offline = True
    # llama.cpp opens its HTTP server on loopback whether one wants it or not: nobody gets in
    # without this key, which is never told.
    params.api_keys = [secrets.token_urlsafe(32)]
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 1
    return xllamacpp.Server(params)


def serve(model: str, threads: int, slots: int, slot_tokens: int, out: IO[str]) -> None:
    """Load the model and answer standard input until it ends."""

    def say(**answer: Any) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    try:
        server = _load(model, threads, slots, slot_tokens)
    except (RuntimeError, OSError, ImportError) as error:
        say(error=str(error))
        return
    say(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = server.handle_completions(
            {
                "prompt": request["prompt"],
                "n_predict": request["tokens"],
                "id_slot": request["slot"],
                "temperature": 0,
                "cache_prompt": True,
                "stop": ["\n", "<|im_end|>"],
            }
        )
        try:
            say(text=answer["choices"][0]["text"])
        except (KeyError, IndexError, TypeError):
            say(error=f"llama.cpp answered {answer}")


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # What libraries print must not get between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    model, threads, slots, slot_tokens = sys.argv[1:]
    serve(model, int(threads), int(slots), int(slot_tokens), out)
    # Nothing to put in order, and llama.cpp takes its time to do so.
    os._exit(0)


if __name__ == "__main__":
    main()
