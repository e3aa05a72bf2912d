"""Voice activity, window by window."""

from typing import Any

import numpy as np
import pytest
from faster_whisper.vad import get_vad_model

from translate.segment import WINDOW
from translate.voice import SileroVoice


def test_the_detector_hears_the_same_streamed_and_at_once(clips: dict[str, Any]) -> None:
    samples = clips["en-real-0"].samples()
    samples = samples[: len(samples) // WINDOW * WINDOW]
    voice = SileroVoice()
    mine = [voice.probability(samples[i : i + WINDOW]) for i in range(0, len(samples), WINDOW)]
    theirs = get_vad_model()(samples).reshape(-1)
    assert np.abs(np.array(mine) - theirs).max() < 0.05
    voice.reset()
    assert voice.probability(samples[:WINDOW]) == pytest.approx(mine[0], abs=1e-6)
