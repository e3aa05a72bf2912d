"""How captions are scored: what counts as the same word, and as changed after being shown."""

import pytest

from bench.scoring import distance, erased, quantile, tokens


@pytest.mark.parametrize(
    ("said", "written", "language"),
    [
        ("mister smith is ill disposed at seven", "Mr. Smith is ill-disposed, at 7!", "en"),
        ("it's one hundred and twelve", "It’s 112.", "en"),
        ("a qué hora a las once", "¿A qué hora? ¡A las 11!", "es"),
        ("已经是晚上十一点了", "已經是，晚上11點了。", "zh"),
    ],
)
def test_the_same_words_written_otherwise(said: str, written: str, language: str) -> None:
    assert tokens(said, language) == tokens(written, language)


def test_latin_words_in_chinese_are_one() -> None:
    assert tokens("我用WebRTC聊天", "zh") == ["我", "用", "webrtc", "聊", "天"]


@pytest.mark.parametrize(
    ("wanted", "heard", "errors"),
    [("a b c", "a b c", 0), ("a b c", "", 3), ("", "a b", 2), ("a b c d", "a x c d e", 2)],
)
def test_errors(wanted: str, heard: str, errors: int) -> None:
    assert distance(wanted.split(), heard.split()) == errors


def test_words_added_at_the_end_are_no_change() -> None:
    assert erased(["Hello", "hello every", "Hello, everybody"], "en") == (1, 2)
    assert erased(["Hello", "Hello everybody.", "Hello everybody"], "en") == (0, 2)


def test_all_behind_a_changed_word_was_changed() -> None:
    # "very", and then "day" stands behind another word.
    assert erased(["What a very day", "What a fair day"], "en") == (2, 4)
    assert erased(["你好吗", "你好嘛"], "zh") == (1, 3)


def test_a_line_that_was_taken_back_was_all_changed() -> None:
    assert erased(["thank you", ""], "en") == (2, 0)
    assert erased([], "en") == (0, 0)


def test_quantiles() -> None:
    assert quantile([], 0.5) is None
    assert [quantile([3.0, 1.0, 2.0], point) for point in (0.0, 0.5, 0.95)] == [1.0, 2.0, 3.0]
