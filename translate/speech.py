"""Recognition: an utterance's sound to its text.

Whisper through CTranslate2 directly: the encoder is given the frames that there are, not 30
seconds, which makes it some eight times quicker. What it says is guarded against its known
vices: loops, text for noise, and reciting the prompt.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chatroom.errors import LanguageUnavailable
from translate.decode import RATE, Samples
from translate.language import base, name, to_variant
from translate.words import collapse, has_loop, tidy

LONGEST_S = 28.0
"""Whisper takes 30 s (`_WINDOW_S`) with the silence behind it."""
_WINDOW_S = 30.0

_PAD_S = 1.0
"""Silence behind the speech. Without it Whisper does not end: it says the sentence again."""
_RETRY_PAD_S = 8.0
"""Ends the loops that a second did not. On 30 cuts of 15 clips: 2 word errors in 394, and no loop;
with 2 s they were 36, in 4 loops."""

_PROMPTS = {"zh": "以下是普通话的句子。"}
"""Chinese: simplified characters, with punctuation."""

_ALIASES = {"nb": "no", "iw": "he", "fil": "tl", "jv": "jw", "cmn": "zh", "in": "id"}

# Tokens that a second of quick speech may have; scripts that Whisper spells out byte by byte need
# many more.
_TOKENS_A_SECOND = 10
_TOKENS_A_SECOND_BYTES = 40
_BYTEWISE = frozenset(
    {"am", "ar", "as", "bn", "bo", "fa", "gu", "he", "hi", "hy", "ka", "km", "kn"}
)
_BYTEWISE |= {
    "lo",
    "ml",
    "mr",
    "my",
    "ne",
    "pa",
    "ps",
    "sa",
    "sd",
    "si",
    "ta",
    "te",
    "th",
    "ur",
    "yi",
}

_UNLIKELY = -1.0
"""Mean log probability of a token below which text is doubted."""
_IMPOSSIBLE = -1.5
_NO_SPEECH = 0.6
_COMPRESSION = 2.4


@dataclass(frozen=True, slots=True)
class Heard:
    """What was recognised. `text` is empty where nothing was said, or where what came out is
    not to be believed; `doubt` then says why."""

    text: str
    log_probability: float
    """Mean of the tokens."""
    no_speech: float
    """0 to 1."""
    took_s: float
    doubt: str = ""


class Recogniser(Protocol):
    """Speech to text. Methods block; `recognise` is called from one thread at a time."""

    @property
    def languages(self) -> frozenset[str]:
        """Base tags of what can be recognised."""
        ...

    def recognise(self, sound: Samples, language: str, *, final: bool) -> Heard:
        """The text of one utterance in the language it was declared to be in (a tag such as
        "en", "zh-Hant"). Not `final`: the sound is cut off where the speaker is now, so only a
        quick guess is asked for. Raises LanguageUnavailable."""
        ...


class WhisperRecogniser:
    """Whisper of a CTranslate2 folder (`model.bin`, `tokenizer.json`), quantised to 8 bits.
    Loading takes about half a second and 200 MB. Raises RuntimeError or OSError where the
    folder is not whole."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        import ctranslate2
        import tokenizers
        from faster_whisper import tokenizer
        from faster_whisper.feature_extractor import FeatureExtractor

        self._model = ctranslate2.models.Whisper(
            str(folder), compute_type="int8", intra_threads=threads, inter_threads=1
        )
        self._storage = ctranslate2.StorageView.from_array
        self._features = FeatureExtractor(feature_size=self._model.n_mels)
        self._tokens: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer_for = tokenizer.Tokenizer
        known = {code for code in tokenizer._LANGUAGE_CODES if self._has_language(code)}
        self._known = frozenset(known)
        self._languages = frozenset(
            known | {alias for alias, code in _ALIASES.items() if code in known}
        )
        self._tokenizers: dict[str, Any] = {}

    @property
    def languages(self) -> frozenset[str]:
        return self._languages

    def warm_up(self) -> None:
        """One run, so that the first words do not wait for memory and caches."""
        self._run(np.zeros(RATE, np.float32), "en", _PAD_S, 8, 0)

    def recognise(self, sound: Samples, language: str, *, final: bool) -> Heard:
        began = time.perf_counter()
        code = self._code(language)
        sound = sound[-int(LONGEST_S * RATE) :]
        limit = self._token_limit(code, len(sound) / RATE)
        text, score, no_speech = self._run(sound, code, _PAD_S, limit, 0)
        if final and self._loops(text, language):
            # More silence ends most loops. Who really said it twice is heard twice again.
            pad_s = min(_RETRY_PAD_S, _WINDOW_S - len(sound) / RATE)
            text, score, no_speech = self._run(sound, code, pad_s, limit, 0)
            if _compression(text) > _COMPRESSION:
                text, score, no_speech = self._run(sound, code, pad_s, limit, 3)
        elif not final:
            text = collapse(text, language)
        doubt = self._doubt(text, score, no_speech, code, final)
        text = "" if doubt else to_variant(tidy(text, language), language)
        return Heard(text, score, no_speech, time.perf_counter() - began, doubt)

    # ------------------------------------------------------------------------- inside

    def _has_language(self, code: str) -> bool:
        return self._tokens.token_to_id(f"<|{code}|>") is not None

    def _code(self, language: str) -> str:
        tag = base(language)
        code = _ALIASES.get(tag, tag)
        if code not in self._known:
            raise LanguageUnavailable(f"Speech in {name(language)} cannot be recognised here.")
        return code

    @staticmethod
    def _token_limit(code: str, seconds: float) -> int:
        rate = _TOKENS_A_SECOND_BYTES if code in _BYTEWISE else _TOKENS_A_SECOND
        return min(220, 8 + int(rate * seconds))

    def _tokenizer(self, code: str) -> Any:
        if code not in self._tokenizers:
            self._tokenizers[code] = self._tokenizer_for(
                self._tokens, True, task="transcribe", language=code
            )
        return self._tokenizers[code]

    def _run(
        self, sound: Samples, code: str, pad_s: float, limit: int, no_repeat: int
    ) -> tuple[str, float, float]:
        """Text, mean log probability, probability of no speech."""
        tokenizer = self._tokenizer(code)
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        if code in _PROMPTS:
            prompt = [tokenizer.sot_prev, *tokenizer.encode(" " + _PROMPTS[code]), *prompt]
        padded = np.pad(sound, (0, int(pad_s * RATE)))
        mel = self._features(padded, padding=0).astype(np.float32)
        mel = np.ascontiguousarray(mel[None, :, : mel.shape[1] // 2 * 2])
        # One by one: nine utterances in one batch took as long as one after the other (3.1 s
        # against 2.7 s on one thread), and the first of them waits for the last.
        (result,) = self._model.generate(
            self._storage(mel),
            [prompt],
            beam_size=1,
            max_length=len(prompt) + limit,
            no_repeat_ngram_size=no_repeat,
            return_scores=True,
            return_no_speech_prob=True,
        )
        text = tokenizer.decode(result.sequences_ids[0]).replace("\ufffd", "").strip()
        return text, float(result.scores[0]), float(result.no_speech_prob)

    @staticmethod
    def _loops(text: str, language: str) -> bool:
        return has_loop(text, language) or _compression(text) > _COMPRESSION

    @staticmethod
    def _doubt(text: str, score: float, no_speech: float, code: str, final: bool) -> str:
        if not text:
            return "nothing was said"
        if score < _IMPOSSIBLE or (score < _UNLIKELY and (no_speech > _NO_SPEECH or not final)):
            return "the recogniser itself does not believe it"
        if _compression(text) > _COMPRESSION:
            return "it repeats itself"
        said = text.strip(" ,.，。")
        if len(said) > 2 and said in _PROMPTS.get(code, "") and no_speech > 0.5:
            return "it is the prompt"
        return ""


def _compression(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0
