"""The set of short utterances and how answers to it are judged."""

from collections import Counter

import pytest

from bench.short import FAILURES, Line, judge, load, pattern, plain, summarise
from translate import phrases
from translate.figures import LANGUAGES
from translate.text import Translation

LINES = load()


def test_the_set_is_whole() -> None:
    assert len(LINES) == 200
    assert len({(line.source, line.target, line.text) for line in LINES}) == 200
    pairs = Counter((line.source, line.target) for line in LINES)
    assert set(pairs) == {(a, b) for a in LANGUAGES for b in LANGUAGES if a != b}
    assert min(pairs.values()) >= 10
    assert sum(line.means == "no" for line in LINES) >= 30
    assert sum(line.means == "yes" for line in LINES) >= 30
    for line in LINES:
        assert line.accepted
        assert not any(pattern(accepted).fullmatch("") for accepted in line.accepted), line


def test_many_lines_are_not_in_the_table() -> None:
    """The set measures engines too, not only what was learnt by heart."""
    table = phrases.table()
    known = [line for line in LINES if table.translate(line.text, line.source, line.target)]
    assert len(LINES) - len(known) >= 80


def test_the_table_inverts_none_of_them() -> None:
    table = phrases.table()
    for line in LINES:
        found = table.translate(line.text, line.source, line.target)
        if found is not None:
            assert judge(line, Translation(found, phrases.NAME)) != "inverted", line


@pytest.mark.parametrize(
    ("line", "answer", "verdict"),
    [
        (
            Line("en", "es", "assent", "Sure.", ["Claro( que sí|)"], "yes"),
            "¡Claro que sí!",
            "right",
        ),
        (Line("en", "es", "assent", "Sure.", ["Claro"], "yes"), "No.", "inverted"),
        (Line("zh", "en", "refusal", "否。", ["No"], "no"), "Yes.", "inverted"),
        (Line("en", "es", "farewell", "Bye!", ["Adiós"]), "bye", "untranslated"),
        (Line("zh", "en", "reaction", "加油！", ["Go"]), "加油 now", "untranslated"),
        (Line("en", "zh", "greeting", "Hello.", ["你好"]), "你好你好你好你好你好你好", "runaway"),
        (Line("zh", "en", "instruction", "写诗。", ["Write"]), "Spring comes " * 9, "obeyed"),
        (Line("zh", "en", "instruction", "数。", ["Count"], "", ["1, 2"]), "1 2 3", "obeyed"),
        (Line("en", "es", "question", "Who?", ["Quién"]), "Soy Ana.", "answered"),
        (Line("en", "es", "thanks", "Thanks.", ["Gracias"]), "De nada.", "other"),
        (Line("en", "zh-TW", "thanks", "Thanks.", ["谢谢"]), "謝謝！", "right"),
    ],
)
def test_verdicts(line: Line, answer: str, verdict: str) -> None:
    assert judge(line, Translation(answer, "llm")) == verdict


def test_what_was_held_back_is_a_failure() -> None:
    line = LINES[0]
    assert judge(line, Translation("", error="translation_rejected")) == "rejected"
    assert judge(line, Translation("", error="language_unavailable")) == "missing"
    rows = summarise(
        [{"pair": "a-b", "verdict": verdict} for verdict in ("right", *FAILURES)], ("pair",)
    )
    assert rows == [
        {"pair": "a-b", "lines": 9, "failures": 8} | dict.fromkeys(FAILURES, 1),
    ]


def test_plain_is_letters_and_digits() -> None:
    assert plain("Ｏ.Ｋ., 謝謝！ It's 5") == "ok谢谢its5"
