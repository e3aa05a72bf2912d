"""Routes, cache, guards and variants of the facade; real weights where the words matter."""

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from chatroom.errors import LanguageUnavailable, ModelUnavailable, TranslationRejected
from translate import text
from translate.packages_argos import install_file
from translate.text import ENGINES, Leg, Translator, find_route


class Recorder:
    """An engine that answers from a table and remembers what it was asked."""

    def __init__(self, name: str, table: dict[tuple[str, str], dict[str, str]]) -> None:
        self.name = name
        self.generative = name == "llm"
        self.table = table
        self.asked: list[tuple[str, str, list[str]]] = []
        self.loaded: list[tuple[str, str]] = []

    def pairs(self) -> set[tuple[str, str]]:
        return set(self.table)

    def refresh(self) -> None:
        self.asked.clear()

    def load(self, source: str, target: str) -> None:
        self.loaded.append((source, target))
        if (source, target) == ("xx", "en"):
            raise ModelUnavailable("broken")

    def translate(self, texts: list[str], source: str, target: str) -> list[str]:
        self.asked.append((source, target, texts))
        return [self.table[source, target][text] for text in texts]

    def close(self) -> None:
        self.table = {}


def order(*_: str) -> tuple[str, ...]:
    return ENGINES


def test_the_direct_way_goes_before_the_way_through_english() -> None:
    have = {
        "firefox": {("pt", "en"), ("en", "pt")},
        "argos": {("en", "zh"), ("en", "pt")},
        "llm": {("en", "zh"), ("pt", "zh")},
    }
    assert find_route("en", "pt", have, order) == (Leg("firefox", "en", "pt"),)
    assert find_route("pt", "zh", have, order) == (Leg("llm", "pt", "zh"),)
    assert find_route("zh", "pt", have, order) is None
    del have["llm"]
    assert find_route("pt", "zh", have, order) == (
        Leg("firefox", "pt", "en"),
        Leg("argos", "en", "zh"),
    )


async def test_engines_are_chosen_by_order_and_by_pair(tmp_path: Path) -> None:
    engines = [Recorder(name, {("en", "es"): {"Hi": name}}) for name in ENGINES]
    default = Translator(tmp_path, use_phrases=False, instances=engines)
    assert (await default.translate_many(["Hi"], "en", "es"))[0].engine == "firefox"
    other = Translator(
        tmp_path, use_phrases=False, instances=engines, pair_engines={"en-es": ["argos"]}
    )
    assert await other.translate("Hi", "en-US", "es-MX") == "argos"
    with pytest.raises(ValueError, match=r"no engine 'google'; there are: firefox, argos, llm"):
        Translator(tmp_path, use_phrases=False, engines=["google"])
    await default.close()


async def test_a_pivot_takes_two_steps_and_chinese_the_readers_characters(tmp_path: Path) -> None:
    firefox = Recorder("firefox", {("pt", "en"): {"Bem-vindos!": "Welcome!"}})
    llm = Recorder("llm", {("en", "zh"): {"Welcome!": "欢迎！"}, ("zh", "en"): {"欢迎": "Welcome"}})
    translator = Translator(tmp_path, use_phrases=False, instances=[firefox, llm])
    assert translator.pairs() == {("pt", "en"), ("en", "zh"), ("zh", "en"), ("pt", "zh")}
    assert translator.available("pt-BR", "zh-TW")
    assert not translator.available("zh", "pt")
    (line,) = await translator.translate_many([" Bem-vindos! "], "pt-BR", "zh-TW")
    assert (line.text, line.engine) == ("歡迎！", "firefox+llm")
    assert await translator.translate("歡迎", "zh-Hant", "en") == "Welcome"
    assert await translator.translate("歡迎", "zh-Hant", "zh-Hans") == "欢迎"
    assert await translator.translate("Hello", "en-GB", "en") == "Hello"
    await translator.close()


async def test_short_lines_are_cached_and_empty_ones_cost_nothing(tmp_path: Path) -> None:
    long = "w " * 150
    engine = Recorder("firefox", {("en", "es"): {"Yes": "Sí", "No": "No", long.strip(): "x " * 99}})
    translator = Translator(tmp_path, use_phrases=False, instances=[engine], cache_lines=1)

    async def say(*texts: str) -> list[str]:
        return [line.text for line in await translator.translate_many(texts, "en", "es")]

    assert await say("Yes", "", "  ") == ["Sí", "", ""]
    assert await say("Yes") == ["Sí"]
    assert engine.asked == [("en", "es", ["Yes"])]
    await say("No")
    await say("Yes")
    assert len(engine.asked) == 3, "the cache holds one line"
    await say(long)
    await say(long)
    assert len(engine.asked) == 5, "long lines are not kept"
    translator.refresh()
    assert engine.asked == []
    await say("No")
    assert len(engine.asked) == 1
    await translator.close()


async def test_a_rejected_line_harms_no_other(tmp_path: Path) -> None:
    llm = Recorder("llm", {("zh", "en"): {"你好": "Hello", "写诗": "as an AI I", "谢谢": "谢谢你"}})
    translator = Translator(tmp_path, use_phrases=False, instances=[llm])
    lines = await translator.translate_many(["写诗", "你好", "谢谢"], "zh", "en")
    assert [(line.text, line.error) for line in lines] == [
        ("", "translation_rejected"),
        ("Hello", ""),
        ("", "translation_rejected"),
    ]
    assert lines[0].reason == "the model speaks for itself"
    with pytest.raises(TranslationRejected, match="not translated"):
        await translator.translate("写诗", "zh", "en")
    await translator.close()


async def test_phrases_go_before_every_engine(tmp_path: Path) -> None:
    engine = Recorder("firefox", {("en", "pt"): {"The bus is late.": "O ônibus está atrasado."}})
    translator = Translator(tmp_path, instances=[engine])
    lines = await translator.translate_many(["Yes, yes!", "The bus is late."], "en", "pt-BR")
    assert [(line.text, line.engine) for line in lines] == [
        ("Sim, sim!", "phrases"),
        ("O ônibus está atrasado.", "firefox"),
    ]
    assert engine.asked == [("en", "pt", ["The bus is late."])]
    await translator.close()


async def test_phrases_need_no_engine(tmp_path: Path) -> None:
    """Nor English between: the table has the pair itself."""
    translator = Translator(tmp_path, instances=[])
    lines = await translator.translate_many(["No, gracias.", "El autobús tarda."], "es", "zh-TW")
    assert (lines[0].text, lines[0].engine, lines[0].error) == ("不用了，謝謝。", "phrases", "")
    assert (lines[1].text, lines[1].error) == ("", "language_unavailable")
    assert "chatroom models add es zh" in lines[1].reason
    with pytest.raises(LanguageUnavailable):
        await translator.translate("El autobús tarda.", "es", "zh")
    assert not translator.available("es", "zh"), "the rest would be missing"
    await translator.close()


async def test_a_yes_never_comes_back_as_a_no(tmp_path: Path) -> None:
    llm = Recorder("llm", {("en", "es"): {"No, I can hear the bus.": "Sí, oigo el autobús."}})
    translator = Translator(tmp_path, instances=[llm])
    (line,) = await translator.translate_many(["No, I can hear the bus."], "en", "es")
    assert (line.text, line.error) == ("", "translation_rejected")
    assert "turns a yes into a no" in line.reason
    await translator.close()


async def test_a_missing_pair_names_the_command(tmp_path: Path) -> None:
    translator = Translator(tmp_path, use_phrases=False)
    with pytest.raises(LanguageUnavailable) as raised:
        await translator.translate("你好", "zh-CN", "en")
    assert raised.value.message == (
        "No model translates Chinese to English. Run `chatroom models add zh en`."
    )
    assert translator.pairs() == set()
    await translator.load()
    await translator.close()


async def test_loading_goes_on_after_a_broken_pair(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Recorder("firefox", {("xx", "en"): {}, ("en", "es"): {}})
    translator = Translator(tmp_path, use_phrases=False, instances=[engine])
    await translator.load([("xx", "es"), ("en", "es"), ("es", "xx")])
    assert sorted(engine.loaded) == [("en", "es"), ("xx", "en")]
    assert "xx-en: broken" in caplog.text
    await translator.close()


async def test_a_slow_engine_holds_up_no_other(tmp_path: Path) -> None:
    """The language model does not answer before Firefox's line is there."""
    firefox_done = threading.Event()

    class Slow(Recorder):
        def translate(self, texts: list[str], source: str, target: str) -> list[str]:
            assert firefox_done.wait(10)
            return super().translate(texts, source, target)

    slow = Slow("llm", {("en", "zh"): {"Hi": "你好"}})
    quick = Recorder("firefox", {("en", "es"): {"Hi": "Hola"}})
    translator = Translator(tmp_path, use_phrases=False, instances=[slow, quick])
    waiting = asyncio.create_task(translator.translate("Hi", "en", "zh"))
    assert await translator.translate("Hi", "en", "es") == "Hola"
    firefox_done.set()
    assert await waiting == "你好"
    await translator.close()


async def test_real_weights_translate_both_ways(models_root: Path) -> None:
    translator = Translator(models_root, use_phrases=False, engines=("firefox", "argos"))
    assert translator.pairs() == {("en", "pt"), ("pt", "en")}
    await translator.load()
    lines = await translator.translate_many(
        ["Good morning, how are you today?", "The meeting starts at nine o'clock."], "en", "pt-BR"
    )
    assert [line.text for line in lines] == [
        "Bom dia, como você está hoje?",
        "A reunião começa às nove horas.",
    ]
    assert {line.engine for line in lines} == {"firefox"}
    await translator.close()


async def test_an_argos_package_is_a_pair_among_the_others(
    models_root: Path, tmp_path: Path, argos_package
) -> None:
    """Random weights: the words mean nothing, so all that counts is that each line comes back
    as text or as rejected."""
    install_file(argos_package("en", "es"), tmp_path)
    (tmp_path / "firefox").symlink_to(models_root / "firefox")
    translator = Translator(tmp_path, use_phrases=False)
    assert ("pt", "es") in translator.pairs()
    (line,) = await translator.translate_many(["Bom dia, como vai?"], "pt", "es")
    assert line.engine == "firefox+argos"
    assert line.text or line.error == "translation_rejected"
    await translator.close()


async def test_what_the_models_command_brings_is_taken_up(
    tmp_path: Path, argos_package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "LOOK_EVERY_S", 0.0)
    translator = Translator(tmp_path, use_phrases=False)
    with pytest.raises(LanguageUnavailable):
        await translator.translate("Hi", "en", "es")
    install_file(argos_package("en", "es"), tmp_path)
    (line,) = await translator.translate_many(["hello world"], "en", "es")
    assert line.engine == "argos"
    assert translator.available("en", "es")
    shutil.rmtree(tmp_path / "argos")
    with pytest.raises(LanguageUnavailable):
        await translator.translate("Hi", "en", "es")
    await translator.close()
