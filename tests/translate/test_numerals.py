"""Number words, against num2words where it has the language."""

import pytest
from num2words import num2words

from translate.numerals import numbers, words

RANGE = [*range(1000), *range(1000, 10_001, 1000)]


@pytest.mark.parametrize(("tag", "theirs"), [("en", "en"), ("es", "es"), ("pt", "pt_BR")])
def test_words_are_those_of_num2words(tag: str, theirs: str) -> None:
    for number in RANGE:
        assert words(number, tag) == num2words(number, lang=theirs), number


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "零"),
        (10, "十"),
        (15, "十五"),
        (20, "二十"),
        (99, "九十九"),
        (100, "一百"),
        (101, "一百零一"),
        (110, "一百一十"),
        (115, "一百一十五"),
        (200, "两百"),
        (222, "两百二十二"),
        (1000, "一千"),
        (2000, "两千"),
        (10_000, "一万"),
    ],
)
def test_chinese(number: int, expected: str) -> None:
    assert words(number, "zh") == expected


@pytest.mark.parametrize("tag", ["en", "es", "pt", "zh"])
def test_every_number_is_read_again(tag: str) -> None:
    known = numbers(tag)
    assert {known[words(number, tag).replace("-", " ")] for number in RANGE} == set(RANGE)


@pytest.mark.parametrize(
    ("spelling", "tag", "number"),
    [
        ("one hundred one", "en", 101),
        ("a hundred and five", "en", 105),
        ("a thousand", "en", 1000),
        ("dieciseis", "es", 16),
        ("dezasseis", "pt", 16),
        ("quatorze", "pt", 14),
        ("cento e dezanove", "pt", 119),
        ("二百零二", "zh", 202),
        ("两", "zh", 2),
    ],
)
def test_other_spellings(spelling: str, tag: str, number: int) -> None:
    assert numbers(tag)[spelling] == number
