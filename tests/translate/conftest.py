"""What the tests of words share: real weights, a tiny Argos package, a local web server."""

from __future__ import annotations

import json
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import ctranslate2
import numpy as np
import pytest
import sentencepiece

from translate.models import DEFAULT_LLM, ModelStore

CACHE = Path(
    os.environ.get("CHATROOM_TEST_MODELS") or Path(__file__).resolve().parents[2] / ".cache/models"
)


@pytest.fixture(scope="session")
def models_root() -> Path:
    """The models' root with the default set: Whisper base, Firefox en-pt and pt-en (196 MB),
    fetched once into `.cache/models` and kept there."""
    store = ModelStore(CACHE)
    store.fetch(store.defaults())
    return CACHE


@pytest.fixture(scope="session")
def llm_root(models_root: Path) -> Path:
    """The same root with the small language model as well (1.1 GB more)."""
    ModelStore(models_root).fetch(DEFAULT_LLM)
    return models_root


# ----------------------------------------------------------------------------- web server


class Web:
    """A web server on loopback: `files` maps paths to bodies; `cut` ends the next answer for a
    path after so many bytes; `seen` lists (path, Range header)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.seen: list[tuple[str, str | None]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                web.seen.append((self.path, asked))
                body = web.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                self.wfile.write(body[start : web.cut.pop(self.path, None)])

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


# -------------------------------------------------------------------- a tiny Argos package

_WORDS = ("hello world", "good morning everybody", "the meeting starts at nine", "thank you")


def _fill(spec: Any, vocabulary: int, width: int = 16, inner: int = 32) -> None:
    """Random weights for every layer of a CTranslate2 specification; they translate nothing."""
    random = np.random.default_rng(7)

    def matrix(rows: int, columns: int) -> Any:
        return (random.standard_normal((rows, columns)) * 0.3).astype(np.float32)

    def norm(layer: Any) -> None:
        layer.gamma = np.ones(width, np.float32)
        layer.beta = np.zeros(width, np.float32)

    def attention(layer: Any) -> None:
        norm(layer.layer_norm)
        shares = {2: (3, 1), 3: (1, 2, 1)}[len(layer.linear)]
        for linear, share in zip(layer.linear, shares, strict=True):
            linear.weight = matrix(width * share, width)

    def block(layer: Any) -> None:
        attention(layer.self_attention)
        if hasattr(layer, "attention"):
            attention(layer.attention)
        norm(layer.ffn.layer_norm)
        layer.ffn.linear_0.weight = matrix(inner, width)
        layer.ffn.linear_1.weight = matrix(width, inner)

    for side in (spec.encoder, spec.decoder):
        norm(side.layer_norm)
        for layer in side.layer:
            block(layer)
    spec.encoder.embeddings[0].weight = matrix(vocabulary, width)
    spec.decoder.embeddings.weight = matrix(vocabulary, width)
    spec.decoder.projection.weight = matrix(vocabulary, width)


def build_argos_package(folder: Path, source: str, target: str, version: str = "1.0") -> Path:
    """An `.argosmodel` file that is whole but knows nothing: a one-layer transformer with
    random weights and a SentencePiece model of four lines."""
    place = folder / f"translate-{source}_{target}"
    (place / "model").mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_WORDS * 20),
        model_prefix=str(place / "sentencepiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(place / "sentencepiece.model"))
    vocabulary = [pieces.id_to_piece(index) for index in range(pieces.get_piece_size())]
    spec = ctranslate2.specs.TransformerSpec.from_config(1, 2)
    _fill(spec, len(vocabulary))
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    spec.save(str(place / "model"))
    about = {
        "package_version": version,
        "argos_version": "1.9",
        "from_code": source,
        "from_name": source,
        "to_code": target,
        "to_name": target,
    }
    (place / "metadata.json").write_text(json.dumps(about))
    file = folder / f"translate-{source}_{target}.argosmodel"
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(place.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return file


@pytest.fixture(scope="session")
def argos_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`argos_package(source, target)` → an `.argosmodel` file with random weights."""
    made: dict[tuple[str, str], Path] = {}

    def package(source: str, target: str) -> Path:
        pair = (source, target)
        if pair not in made:
            made[pair] = build_argos_package(tmp_path_factory.mktemp("argos"), source, target)
        return made[pair]

    return package


# -------------------------------------------------------------------------------- speech

SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech"


class Clip:
    """One recording of `tests/data/speech`."""

    def __init__(self, file: str, language: str, text: str) -> None:
        self.file = file
        self.language = language
        self.text = text

    def samples(self, rate: int = 16_000) -> Any:
        """Mono float32."""
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        pieces = []
        with av.open(str(SPEECH / self.file)) as container:
            for frame in [*container.decode(audio=0), None]:
                pieces += [made.to_ndarray()[0] for made in resampler.resample(frame)]
        return np.concatenate(pieces)

    def errors(self, heard: str) -> tuple[int, int]:
        """Wrong words (characters in Chinese), and how many there are."""
        right, said = self._words(self.text), self._words(heard)
        row = list(range(len(said) + 1))
        for index, word in enumerate(right, start=1):
            diagonal, row[0] = row[0], index
            for column, other in enumerate(said, start=1):
                cost = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other))
                diagonal, row[column] = row[column], cost
        return row[-1], len(right)

    def _words(self, text: str) -> list[str]:
        same = {"7": "seven", "mr": "mister"}
        words = re.sub(r"[^\w\s']", " ", text.lower()).split()
        return list("".join(words)) if self.language == "zh" else [same.get(w, w) for w in words]


@pytest.fixture(scope="session")
def clips() -> dict[str, Clip]:
    """The recordings by their names without ".wav"."""
    entries = json.loads((SPEECH / "manifest.json").read_text(encoding="utf-8"))
    return {e["file"][:-4]: Clip(e["file"], e["language"], e["text"]) for e in entries}


@pytest.fixture(scope="session")
def opus() -> Callable[..., list[bytes]]:
    """`opus(samples at 48 kHz, frame_ms=20)` → the packets of a real Opus encoder."""

    def encode(samples: Any, frame_ms: int = 20) -> list[bytes]:
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
        encoder.bit_rate = 32_000
        encoder.options = {"application": "voip", "frame_duration": str(frame_ms)}
        size = 48 * frame_ms
        whole = np.pad(samples, (0, -len(samples) % size))
        pcm = (np.clip(whole, -1, 1) * 32767).astype(np.int16)
        packets = []
        for start in range(0, len(pcm), size):
            frame = av.AudioFrame.from_ndarray(pcm[None, start : start + size], "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            packets += [bytes(packet) for packet in encoder.encode(frame)]
        return packets

    return encode
