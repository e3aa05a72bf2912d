"""What an operator may set about captions: models, pace, cutting, load."""

from __future__ import annotations

from dataclasses import dataclass

from chatroom.settings import setting


@dataclass(frozen=True)
class CaptionSettings:
    """Section `[captions]`."""

    enabled: bool = setting(True, "Whether speech is recognised and translated at all.")
    models: str = setting(
        "data/models", "Directory of the recognition and translation models that were fetched."
    )
    fetch: bool = setting(
        True,
        "Whether a worker that misses a model fetches it by itself, beside the running rooms. "
        "If false, `chatroom models fetch` does it.",
    )
    mirror: str = setting(
        "",
        "Address under which model files are looked for first; a copy of the directory `models` on "
        "a web server is such a mirror. Whoever runs many servers should host the files there "
        "rather than burden their publishers.",
    )
    fetch_models: list[str] = setting(
        [],
        "Models to fetch and use, by their names in `chatroom models list`. "
        "Empty: those that the catalogue marks as default.",
    )
    recogniser: str = setting(
        "whisper-base", "Model that recognises speech, by its name in `chatroom models list`."
    )
    recogniser_threads: int = setting(
        1, "Processor threads of one recognition.", unit="threads", minimum=1, maximum=64
    )
    translator_threads: int = setting(
        1, "Processor threads of one translation.", unit="threads", minimum=1, maximum=64
    )
    language_model: bool = setting(
        False,
        "Whether language pairs that no translation model covers are given to the small language "
        "model, if it was fetched. It is slow (seconds a sentence) and makes mistakes.",
    )
    partials: bool = setting(True, "Whether tentative captions are shown while somebody speaks.")
    partial_interval_ms: int = setting(
        500,
        "Shortest time between two tentative captions of a speaker.",
        unit="ms",
        minimum=100,
        maximum=10_000,
    )
    start_threshold: float = setting(
        0.5,
        "Probability of voice from which an utterance begins.",
        minimum=0.05,
        maximum=0.99,
    )
    end_threshold: float = setting(
        0.35,
        "Probability of voice below which speech counts as silence; at most `start_threshold`.",
        minimum=0.01,
        maximum=0.99,
    )
    end_silence_ms: int = setting(
        500, "Silence that ends an utterance.", unit="ms", minimum=100, maximum=5_000
    )
    min_speech_ms: int = setting(
        160, "Voice shorter than this is no utterance.", unit="ms", minimum=32, maximum=2_000
    )
    pre_roll_ms: int = setting(
        288,
        "Sound before the first voice that still belongs to the utterance.",
        unit="ms",
        minimum=0,
        maximum=2_000,
    )
    max_utterance_s: float = setting(
        12.0,
        "Longest utterance; longer speech is cut at its quietest recent pause.",
        unit="s",
        minimum=3,
        maximum=25,
    )
    stale_s: float = setting(
        20.0,
        "A recognition that waited longer than this is dropped: words so late help nobody.",
        unit="s",
        minimum=2,
        maximum=600,
    )
    lease_ms: int = setting(
        4_000,
        "How long a worker that fell silent keeps its rooms; then another one takes them over.",
        unit="ms",
        minimum=500,
        maximum=60_000,
    )
    rooms: int = setting(100, "Rooms that one worker holds at once.", minimum=1, maximum=10_000)
    idle_s: float = setting(
        20.0,
        "A room without sound for this long is given back by its worker.",
        unit="s",
        minimum=1,
        maximum=3_600,
    )
