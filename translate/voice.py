"""Voice activity by Silero v6, the ONNX model that ships inside faster-whisper."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from translate.decode import Samples
from translate.segment import WINDOW

_CONTEXT = 64


def _model_path() -> Path:
    spec = find_spec("faster_whisper")
    if spec is None or spec.origin is None:
        raise RuntimeError("faster-whisper is not installed")
    return Path(spec.origin).parent / "assets" / "silero_vad_v6.onnx"


@cache
def _session() -> Any:
    """One for the process; it has no state of its own and may be used by several threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        str(_model_path()), providers=["CPUExecutionProvider"], sess_options=options
    )


class SileroVoice:
    """One speaker's `VoiceActivity`, about 0.1 ms a window of 32 ms."""

    def __init__(self) -> None:
        self._run = _session().run
        self.reset()

    def reset(self) -> None:
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)
        self._input = np.zeros((1, _CONTEXT + WINDOW), np.float32)

    def probability(self, window: Samples) -> float:
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = window
        chances, self._h, self._c = self._run(
            None, {"input": self._input, "h": self._h, "c": self._c}
        )
        return float(chances.reshape(-1)[0])
