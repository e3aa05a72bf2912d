"""Translation as the captions see it: one face over all engines.

A line that `translate.phrases` holds needs no engine. For others a pair goes the direct way with
the first engine of the order that has it, else through English.
Blocking engines run in a thread of their own each, so that a slow one holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from chatroom.errors import ChatroomError, LanguageUnavailable, TranslationRejected
from translate import language, phrases
from translate.engine import Engine

log = logging.getLogger(__name__)

T = TypeVar("T")
Args = TypeVarTuple("Args")

ENGINES = ("firefox", "argos", "llm")
PIVOT = "en"
LOOK_EVERY_S = 2.0
_CACHED_LENGTH = 200
_PHRASES_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Translation:
    """One line translated, or why not: `error` is a stable code, and then `text` is empty and
    the original is what to show."""

    text: str
    engine: str = ""
    """Which engine made it; two joined by "+" where it went through English, "phrases" where it
    came from the table, empty where nothing had to be translated."""
    error: str = ""
    reason: str = ""
    """For the log, where there is an error."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One step of a route."""

    engine: str
    source: str
    target: str


def find_route(
    source: str,
    target: str,
    have: Mapping[str, set[tuple[str, str]]],
    order: Callable[[str, str], Sequence[str]],
) -> tuple[Leg, ...] | None:
    """The steps from `source` to `target` (base languages, not the same): one where an engine
    has the pair, two through English, or None. `have` is what each engine has, `order` gives
    the engines of a pair by preference."""

    def leg(a: str, b: str) -> Leg | None:
        return next((Leg(name, a, b) for name in order(a, b) if (a, b) in have.get(name, ())), None)

    direct = leg(source, target)
    if direct is not None:
        return (direct,)
    first, second = leg(source, PIVOT), leg(PIVOT, target)
    return (first, second) if first is not None and second is not None else None


class Translator:
    """Translates lines between the languages whose models are below `root` (`data/models`).

    `engines` is the order of preference; `pair_engines` overrides it for single pairs
    ("en-zh" → names). `threads` is how many a language model may use. Tags may carry script
    and region ("zh-Hant", "pt-BR"); Chinese comes back in the characters that the tag asks
    for. `use_phrases`: whether lines of the table of phrases go past the engines.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        engines: Sequence[str] = ENGINES,
        pair_engines: Mapping[str, Sequence[str]] | None = None,
        threads: int = 1,
        cache_lines: int = 4096,
        instances: Iterable[Engine] | None = None,
        use_phrases: bool = True,
    ) -> None:
        self._order = tuple(engines)
        self._pair_order = {pair: tuple(names) for pair, names in (pair_engines or {}).items()}
        for named in (self._order, *self._pair_order.values()):
            for name in named:
                if name not in ENGINES:
                    raise ValueError(f"no engine {name!r}; there are: {', '.join(ENGINES)}")
        used = dict.fromkeys(
            name for names in (self._order, *self._pair_order.values()) for name in names
        )
        made = _make(Path(root), used, threads) if instances is None else instances
        self._engines = {engine.name: engine for engine in made}
        self._phrases = phrases.table()
        self._use_phrases = use_phrases
        self._executors = {
            name: ThreadPoolExecutor(1, thread_name_prefix=f"translate-{name}")
            for name in self._engines
        }
        self._cache: OrderedDict[tuple[str, str, str], Translation] = OrderedDict()
        self._cache_lines = cache_lines
        self._root = Path(root)
        self._stamp = _stamp(self._root)
        self._look_at = 0.0

    # ------------------------------------------------------------------ what there is

    def pairs(self) -> set[tuple[str, str]]:
        """Every pair of base languages that can be translated now, also through English."""
        have = self._have()
        known = {tag for pairs in have.values() for pair in pairs for tag in pair}
        return {
            (a, b)
            for a in known
            for b in known
            if a != b and find_route(a, b, have, self._engines_for)
        }

    def available(self, source: str, target: str) -> bool:
        """Whether a line of `source` can be shown in `target`."""
        return language.same_text(source, target) or self.route(source, target) is not None

    def route(self, source: str, target: str) -> tuple[Leg, ...] | None:
        """The steps that a translation would take; empty where none is needed, None where
        there is no way."""
        if language.same_text(source, target):
            return ()
        return find_route(
            language.base(source), language.base(target), self._have(), self._engines_for
        )

    def refresh(self) -> None:
        """Look again at what is on the disk, after a fetch."""
        for engine in self._engines.values():
            engine.refresh()
        self._cache.clear()

    async def _look_again(self) -> None:
        """Take up what `chatroom models` changed on the disk beside us; looks every
        LOOK_EVERY_S at most."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        stamp = await asyncio.to_thread(_stamp, self._root)
        if stamp != self._stamp:
            self._stamp = stamp
            await asyncio.to_thread(self.refresh)

    def _have(self) -> dict[str, set[tuple[str, str]]]:
        return {name: engine.pairs() for name, engine in self._engines.items()}

    def _engines_for(self, source: str, target: str) -> Sequence[str]:
        return self._pair_order.get(f"{source}-{target}", self._order)

    # -------------------------------------------------------------------- translating

    async def load(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """Bring pairs into memory (all where None), so that the first line is not late. A pair
        that cannot be loaded is logged and costs only itself."""
        wanted = self.pairs() if pairs is None else set(pairs)
        legs = {leg for pair in wanted for leg in self.route(*pair) or ()}
        for leg in sorted(legs, key=lambda leg: (leg.engine, leg.source, leg.target)):
            engine = self._engines[leg.engine]
            try:
                await self._run(leg.engine, engine.load, leg.source, leg.target)
            except ChatroomError as error:
                log.warning("%s %s-%s: %s", leg.engine, leg.source, leg.target, error.message)

    async def translate_many(
        self, texts: Sequence[str], source: str, target: str
    ) -> list[Translation]:
        """Each text in `target`, in order. What an engine answered is checked; an answer that
        cannot be a translation comes back with `error` "translation_rejected".

        Raises LanguageUnavailable where no model has the pair and the table of phrases none of the
        texts (if it has some, the others come back with `error` "language_unavailable"),
        ModelUnavailable where its files are broken.
        """
        await self._look_again()
        route = self.route(source, target)
        key = f"{source}>{target}"
        results: dict[int, Translation] = {}
        todo: list[int] = []
        for index, text in enumerate(texts):
            cached = self._cache.get((key, target, text))
            if cached is not None:
                self._cache.move_to_end((key, target, text))
                results[index] = cached
            elif not text.strip() or route == ():
                results[index] = Translation(language.to_variant(text.strip(), target))
            elif (known := self._known(text, source, target)) is not None:
                results[index] = known
                self._remember((key, target, text), known)
            else:
                todo.append(index)
        if todo and route is None:
            missing = missing_pair(source, target)
            if not results:
                raise missing
            refused = Translation("", error=missing.code, reason=missing.message)
            results |= dict.fromkeys(todo, refused)
        elif todo and route:
            made = await self._translate([texts[index] for index in todo], route, target)
            for index, translation in zip(todo, made, strict=True):
                results[index] = translation
                self._remember((key, target, texts[index]), translation)
        return [results[index] for index in range(len(texts))]

    async def translate(self, text: str, source: str, target: str) -> str:
        """One text in `target`. Raises as `translate_many`, and TranslationRejected where the
        answer is no translation."""
        (result,) = await self.translate_many([text], source, target)
        if result.error:
            raise TranslationRejected(f"The line was not translated: {result.reason}.")
        return result.text

    async def close(self) -> None:
        """Let the running calls end, and give threads and memory back."""
        for executor in self._executors.values():
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)
        for engine in self._engines.values():
            await asyncio.to_thread(engine.close)

    def _known(self, text: str, source: str, target: str) -> Translation | None:
        """What needs no engine."""
        if not self._use_phrases or len(text) > _PHRASES_LENGTH:
            return None
        found = self._phrases.translate(text, source, target)
        if found is None:
            return None
        return Translation(language.to_variant(found, target), phrases.NAME)

    async def _translate(
        self, texts: list[str], route: tuple[Leg, ...], target: str
    ) -> list[Translation]:
        # Models are trained on simplified characters.
        lines = [language.to_variant(text.strip(), route[0].source) for text in texts]
        rejected: dict[int, str] = {}
        for leg in route:
            engine = self._engines[leg.engine]
            todo = [index for index in range(len(lines)) if index not in rejected]
            made = await self._run(
                leg.engine, engine.translate, [lines[i] for i in todo], leg.source, leg.target
            )
            for index, answer in zip(todo, made, strict=True):
                why = language.why_not_translation(
                    lines[index], answer, leg.target, strict=engine.generative
                )
                if not why and self._phrases.inverts(lines[index], answer, leg.source, leg.target):
                    why = "the answer turns a yes into a no, or a no into a yes"
                if why:
                    rejected[index] = why
                    log.info("%s %s-%s rejected: %s", leg.engine, leg.source, leg.target, why)
                else:
                    lines[index] = answer.strip()
        by = "+".join(dict.fromkeys(leg.engine for leg in route))
        return [
            Translation("", by, TranslationRejected.code, rejected[index])
            if index in rejected
            else Translation(language.to_variant(line, target), by)
            for index, line in enumerate(lines)
        ]

    async def _run(self, engine: str, call: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executors[engine], call, *args)

    def _remember(self, key: tuple[str, str, str], translation: Translation) -> None:
        if len(key[2]) > _CACHED_LENGTH:
            return
        self._cache[key] = translation
        while len(self._cache) > self._cache_lines:
            self._cache.popitem(last=False)


def _stamp(root: Path) -> frozenset[tuple[str, int]]:
    """Changes whenever a model comes or goes: the times of the engines' folders."""
    seen: set[tuple[str, int]] = set()
    for engine in ENGINES:
        for place in (root / engine, *(root / engine).glob("[!.]*")):
            try:
                seen.add((str(place), place.stat().st_mtime_ns))
            except OSError:  # gone, or not there yet
                continue
    return frozenset(seen)


def missing_pair(source: str, target: str) -> LanguageUnavailable:
    """The error for a pair without a model, naming the command that gets one."""
    a, b = language.base(source), language.base(target)
    return LanguageUnavailable(
        f"No model translates {language.name(a)} to {language.name(b)}. "
        f"Run `chatroom models add {a} {b}`."
    )


def _make(root: Path, engines: Iterable[str], threads: int) -> list[Engine]:
    from translate.engine_argos import ArgosEngine
    from translate.engine_firefox import FirefoxEngine
    from translate.engine_llm import LlmEngine

    makers: dict[str, Callable[[], Engine]] = {
        "firefox": lambda: FirefoxEngine(root),
        "argos": lambda: ArgosEngine(root, threads),
        "llm": lambda: LlmEngine(root, threads),
    }
    return [makers[name]() for name in engines]
