"""Words: splitting, tidying, loops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.words import bare, collapse, has_loop, tidy, units, without_ending


def test_units_are_words_or_characters_and_join_to_the_text() -> None:
    assert units("Hello, Mr. Who?", "en") == ["Hello,", " Mr.", " Who?"]
    assert units("你好，WebRTC 用户！", "zh") == ["你", "好，", "WebRTC", " 用", "户！"]
    assert units("", "en") == []


@given(st.text(max_size=40), st.sampled_from(["en", "zh", "ja"]))
def test_nothing_is_lost_in_splitting(text: str, language: str) -> None:
    assert "".join(units(text, language)).strip() == text.strip()


def test_what_counts_of_a_unit() -> None:
    assert bare(" Hello,") == bare("hello") == "hello"
    assert bare("—") == ""
    assert without_ending("How much?") == "How much"
    assert without_ending("你好。") == "你好"


def test_tidy_widens_punctuation_behind_chinese_only() -> None:
    assert tidy("你好,  你叫什么名字?", "zh") == "你好，你叫什么名字？"
    assert tidy("用 Python 3.11, 好吗?", "zh-Hant") == "用 Python 3.11, 好吗？"
    assert tidy("  How  are you?", "en") == "How are you?"


@pytest.mark.parametrize(
    ("text", "language", "without"),
    [
        ("How much does it cost? How much does it cost?", "en", "How much does it cost?"),
        ("He was not. He was not. He", "en", "He was not."),
        ("Aquel hora empieza. Aquel hora empieza. Aqu", "es", "Aquel hora empieza."),
        ("buenas buenas buenas buenas buenas", "es", "buenas"),
        ("I was there, so it is, so it is, so it is", "en", "I was there, so it is,"),
        ("我们这边,我们这边,", "zh", "我们这边,"),
        ("我们这边已经是我们这边已经是我们这", "zh", "我们这边已经是"),
    ],
)
def test_loops_are_found_and_cut(text: str, language: str, without: str) -> None:
    assert has_loop(text, language)
    assert collapse(text, language) == without


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("no, no, no", "en"),
        ("bye bye", "en"),
        ("Thank you. Thank you.", "en"),
        ("very very good", "en"),
        ("I want to go home because you want to go home", "en"),
        ("Soy de México y México", "es"),
        ("谢谢，谢谢", "zh"),
        ("对对对", "zh"),
        ("我很高兴我很开心", "zh"),
        ("", "en"),
    ],
)
def test_what_people_say_is_no_loop(text: str, language: str) -> None:
    assert not has_loop(text, language)
    assert collapse(text, language) == text


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=24).map(" ".join),
    st.sampled_from(["en", "zh"]),
)
def test_collapsing_keeps_a_beginning(text: str, language: str) -> None:
    assert text.startswith(collapse(text, language))
    assert collapse(text, language) or not text
