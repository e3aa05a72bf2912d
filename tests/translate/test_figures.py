"""Bare numbers and clock times; separators and hours against Babel's copy of the CLDR."""

import datetime

import pytest
from babel.dates import format_time
from babel.numbers import get_decimal_symbol, get_group_symbol
from hypothesis import given
from hypothesis import strategies as st

from translate import phrases
from translate.figures import LANGUAGES, Figure, read, say


def through(text: str, source: str, target: str) -> str | None:
    return phrases.table().translate(text, source, target)


@pytest.mark.parametrize("tag", LANGUAGES)
def test_separators_are_the_cldrs(tag: str) -> None:
    point, group = get_decimal_symbol(tag), get_group_symbol(tag)
    assert say(Figure("digits", "3.5"), tag) == f"3{point}5"
    assert say(Figure("digits", "1234567", grouped=True), tag) == f"1{group}234{group}567"


@pytest.mark.parametrize("tag", LANGUAGES)
@pytest.mark.parametrize(("hour", "minute"), [(0, 5), (9, 0), (12, 0), (15, 30), (23, 59)])
def test_times_of_a_known_half_of_the_day_are_the_cldrs(tag: str, hour: int, minute: int) -> None:
    theirs = format_time(datetime.time(hour, minute), "short", locale=tag).replace("\u202f", " ")
    assert say(Figure("clock", hour=hour, minute=minute, day=True), tag) == theirs


@pytest.mark.parametrize(
    ("text", "source", "target", "expected"),
    [
        ("42", "en", "zh", "42"),
        ("3.5", "en", "es", "3,5"),
        ("12,345", "en", "pt", "12.345"),
        ("-7,25", "pt", "en", "-7.25"),
        ("50%", "zh", "es", "50%"),
        ("1.500", "pt", "en", "1,500"),
        ("1.500.000", "es", "en", "1,500,000"),
        ("1.500", "es", "en", None),
        ("1,500", "es", "en", None),
        ("192.168.1.1", "en", "es", None),
        ("Twenty-five.", "en", "zh", "二十五。"),
        ("Treinta y dos", "es", "pt", "Trinta e dois"),
        ("二百", "zh", "en", "Two hundred"),
        ("One, two, three!", "en", "es", "Uno, dos, ¡tres!"),
        ("one two three", "en", "zh", "一，二，三"),
        ("一二三", "zh", "en", "One, two, three"),
        ("twenty thirty", "en", "es", None),
    ],
)
def test_numbers(text: str, source: str, target: str, expected: str | None) -> None:
    assert through(text, source, target) == expected


@pytest.mark.parametrize(
    ("text", "source", "target", "expected"),
    [
        ("It's ten o'clock.", "en", "zh", "现在十点。"),
        ("at half past nine", "en", "es", "A las nueve y media"),
        ("a quarter to one", "en", "es", "La una menos cuarto"),
        ("It's a quarter to one.", "en", "pt", "São quinze para a uma."),
        ("quarter past two", "en", "zh", "两点一刻"),
        ("Son las tres y cuarto.", "es", "en", "It's a quarter past three."),
        ("Es la una.", "es", "pt", "É uma hora."),
        ("a las doce", "es", "en", "At twelve o'clock"),
        ("la una menos cuarto", "es", "en", "A quarter to one"),
        ("São duas e meia.", "pt", "en", "It's half past two."),
        ("quinze para as seis", "pt", "es", "Las seis menos cuarto"),
        ("às dez", "pt", "es", "A las diez"),
        ("十点了。", "zh", "en", "It's ten o'clock."),
        ("现在两点半", "zh", "es", "Son las dos y media"),
        ("三点三刻", "zh", "en", "A quarter to four"),
        ("下午三点半", "zh", "en", "3:30 PM"),
        ("晚上八点", "zh", "es", "20:00"),
        ("中午十二点", "zh", "en", "12:00 PM"),
        ("十点零五分", "zh", "en", "10:05"),
        ("10:30", "en", "zh", "10:30"),
        ("10:30 a.m.", "en", "pt", "10:30"),
        ("at 10:30 p.m.", "en", "es", "A las 22:30"),
        ("15:30", "es", "en", "3:30 PM"),
        ("10h30", "pt", "es", "10:30"),
        ("5 p.m.", "en", "zh", "17:00"),
        ("las dos", "es", "en", None),
        ("dez horas", "pt", "en", None),
        ("são duas", "pt", "en", None),
        ("ten", "en", "es", "Diez"),
        ("it's 10", "en", "es", None),
        ("25:10", "en", "es", None),
        ("thirteen o'clock", "en", "es", None),
        ("三点了吗", "zh", "en", None),
    ],
)
def test_times(text: str, source: str, target: str, expected: str | None) -> None:
    assert through(text, source, target) == expected


@given(
    st.sampled_from(LANGUAGES),
    st.sampled_from(LANGUAGES),
    st.integers(1, 12),
    st.sampled_from([0, 15, 30, 45]),
    st.sampled_from(["is", "at"]),
)
def test_a_spoken_time_says_the_same_everywhere(
    source: str, target: str, hour: int, minute: int, frame: str
) -> None:
    """What is said in one language is read there again; Chinese has no "at"."""
    time = Figure("clock", hour=hour, minute=minute, frame=frame, spelled=True)
    (again,) = read(say(time, source), source)
    assert (again.hour, again.minute, again.spelled) == (hour, minute, True)
    assert source == "zh" or again.frame == frame
    (last,) = read(say(again, target), target) if again.frame else (again,)
    assert (last.hour, last.minute) == (hour, minute)


@given(st.text(max_size=12), st.sampled_from(LANGUAGES), st.sampled_from(LANGUAGES))
def test_no_text_breaks_it(text: str, source: str, target: str) -> None:
    for figure in read(text.casefold(), source):
        assert say(figure, target)


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(LANGUAGES))
def test_digits_of_any_time_are_read_or_left(hour: int, minute: int, source: str) -> None:
    for figure in read(f"{hour}:{minute:02}", source):
        assert (figure.hour, figure.minute) == (hour, minute)
