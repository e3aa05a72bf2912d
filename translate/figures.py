"""Bare numbers and clock times, read in one language and said in another. Pure.

Digits stay digits and words stay words. Number words go to a thousand, and by the thousand to
ten thousand; separators and the twelve or twenty-four hours are those of the CLDR (the tests hold
both against num2words and Babel). What could also mean something else is not read: Spanish
"las dos" (both of them), Portuguese "dez horas" (a duration), "1.500" in Spanish, which is not a
thousand everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from translate.numerals import numbers, words

LANGUAGES = ("en", "es", "pt", "zh")

# Feminine hours.
_HOURS = {"es": {1: "una"}, "pt": {1: "uma", 2: "duas"}, "zh": {2: "两"}}
_DECIMAL = {"en": ".", "es": ",", "pt": ",", "zh": "."}
_DIGITS = re.compile(r"([+-]?)(\d+(?:[.,]\d+)*)\s?(%?)$")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number or a time of day."""

    kind: str
    """"digits", "words" or "clock"."""
    number: str = ""
    """Digits with "." as the decimal point, and "%" behind them where it was there; grouped ones
    have no separators left."""
    hour: int = 0
    minute: int = 0
    frame: str = ""
    """"is" (it's ten o'clock), "at" or ""."""
    spelled: bool = False
    """Whether the hour was a word."""
    day: bool = False
    """Whether the half of the day is known, so that `hour` is one of 24."""
    grouped: bool = False


def read(key: str, source: str) -> list[Figure]:
    """What numbers or which time a part of a line is, without case; empty where it is neither.
    Small numbers may follow one another ("one two three")."""
    digits = _digits(key, source)
    if digits is not None:
        return [digits]
    number = numbers(source).get(key)
    if number is not None:
        return [Figure("words", str(number))]
    clock = _clock(key, source)
    if clock is not None:
        return [clock]
    words = list(key) if source == "zh" else key.split()
    counted = [numbers(source).get(word) for word in words]
    few = [Figure("words", str(n)) for n in counted if n is not None and n <= 10]
    return few if len(few) == len(words) > 1 else []


def say(figure: Figure, target: str) -> str:
    """The same in `target`, lower case."""
    if figure.kind == "digits":
        return _say_digits(figure, target)
    if figure.kind == "words":
        return words(int(figure.number), target)
    return _say_clock(figure, target)


# --------------------------------------------------------------------------------- digits


def _digits(key: str, source: str) -> Figure | None:
    match = _DIGITS.match(key)
    if match is None:
        return None
    sign, number, percent = match.groups()
    point = _DECIMAL[source]
    group = "," if point == "." else "."
    if re.fullmatch(rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+", number):
        if source == "es" and number.count(group) == 1:
            return None
        return Figure("digits", sign + number.replace(group, "") + percent, grouped=True)
    if not re.fullmatch(rf"\d+(?:{re.escape(point)}\d+)?", number):
        return None
    if source == "es" and re.fullmatch(r"\d{1,3},\d{3}", number):
        return None
    return Figure("digits", sign + number.replace(point, ".") + percent)


def _say_digits(figure: Figure, target: str) -> str:
    point = _DECIMAL[target]
    number = figure.number.replace(".", point)
    if figure.grouped:
        group = "," if point == "." else "."
        number = re.sub(r"(?<=\d)(?=(?:\d{3})+(?!\d))", group, number)
    return number


# ---------------------------------------------------------------------------------- clock

_HALVES = {"上午": 0, "早上": 0, "凌晨": 0, "下午": 12, "晚上": 12, "中午": 12, "傍晚": 12}
_QUARTERS = {"一刻": 15, "半": 30, "三刻": 45}


def _clock(key: str, source: str) -> Figure | None:
    if source == "zh":
        return _chinese_clock(key)
    frame, key = _frame(key, source)
    match = re.fullmatch(r"(\d{1,2})(?:[:.h](\d{2}))?\s?(am|pm|h)?", key)
    if match:
        return _figures_clock(match, frame, source)
    if source == "en":
        return _english_clock(key, frame)
    return _romance_clock(key, frame, source)


def _frame(key: str, source: str) -> tuple[str, str]:
    frames = {
        "en": (("it's ", "is"), ("it is ", "is"), ("at ", "at")),
        "es": (("son las ", "is"), ("es la ", "is"), ("a las ", "at"), ("a la ", "at")),
        "pt": (("são ", "is"), ("é ", "is"), ("às ", "at"), ("à ", "at")),
    }
    for start, frame in frames[source]:
        if key.startswith(start):
            return frame, key[len(start) :]
    return "", key


def _figures_clock(match: re.Match[str], frame: str, source: str) -> Figure | None:
    hours, minutes, half = match.groups()
    hour, minute = int(hours), int(minutes or 0)
    if hour > 23 or minute > 59 or (half in ("am", "pm") and not 1 <= hour <= 12):
        return None
    if minutes is None and half is None and not (frame == "at" or (frame and source == "es")):
        return None  # "it's 10", "à 10": no time for sure
    if half == "h" and minutes is None and not frame:
        return None  # "10h": may be how long
    if half in ("am", "pm"):
        hour = hour % 12 + (12 if half == "pm" else 0)
    return Figure("clock", hour=hour, minute=minute, frame=frame, day=half in ("am", "pm"))


def _english_clock(key: str, frame: str) -> Figure | None:
    match = re.fullmatch(
        r"(?:(half past|a quarter past|quarter past|a quarter to|quarter to) )?(.+?)( o'clock)?",
        key,
    )
    hour = _hour(match.group(2), "en") if match else None
    if match is None or hour is None:
        return None
    before, exact = match.group(1) or "", match.group(3)
    if not before and not exact:
        return None
    minute = 30 if "half" in before else 15 if "past" in before else 45 if before else 0
    return _spelled(hour - (minute == 45), minute, frame, match.group(2))


def _romance_clock(key: str, frame: str, source: str) -> Figure | None:
    if source == "es":
        pattern = r"(?:las |la )?(.+?)( y media| y cuarto| menos cuarto| en punto)?"
    else:
        to = re.fullmatch(
            r"(?:um quarto|quinze) (?:para|pras|para as|para a) ?(?:as |a )?(.+)", key
        )
        if to:
            hour = _hour(to.group(1), source)
            return None if hour is None else _spelled(hour - 1, 45, frame, to.group(1))
        pattern = r"(.+?)(?: horas?)?( e meia| e quinze| em ponto)?"
    match = re.fullmatch(pattern, key)
    hour = _hour(match.group(1), source) if match else None
    if match is None or hour is None:
        return None
    after = match.group(2) or ""
    # "são duas": there are two. "las dos": both of them. "dez horas": for ten hours.
    sure = after or (frame and (source == "es" or "hora" in key or frame == "at"))
    if not sure or (source == "pt" and after == " e quinze" and not frame):
        return None
    minute = 30 if "media" in after or "meia" in after else 0
    minute = 15 if "y cuarto" in after or "quinze" in after else minute
    minute = 45 if "menos" in after else minute
    return _spelled(hour - (minute == 45), minute, frame, match.group(1))


def _chinese_clock(key: str) -> Figure | None:
    match = re.fullmatch(
        r"(现在|在)?是?(上午|早上|凌晨|中午|下午|傍晚|晚上)?(\d{1,2}|[一二两三四五六七八九十]{1,3})"
        r"(?:[点點](?:钟|整)?(半|一刻|三刻)?(?:(\d{1,2}|[零一二三四五六七八九十]{2,3})分?)?|:(\d{2}))(了)?",
        key,
    )
    if match is None:
        return None
    now, half, hours, quarter, minutes, digital, done = match.groups()
    hour = numbers("zh").get(hours, int(hours) if hours.isdigit() else -1)
    minute = _QUARTERS.get(quarter or "", 0)
    if digital or minutes:
        if quarter:
            return None
        text = digital or minutes.lstrip("零")
        minute = int(text) if text.isdigit() else numbers("zh").get(text, 60)
    if not 0 <= hour <= 23 or minute > 59:
        return None
    if half and hour <= 12:
        hour = hour % 12 + _HALVES[half]
        if half in ("晚上",) and hour == 12:
            hour = 0
        if half == "中午" and hour not in (11, 12, 13):
            return None
    frame = "is" if now == "现在" or done else "at" if now else ""
    return Figure(
        "clock",
        hour=hour,
        minute=minute,
        frame=frame,
        spelled=not hours.isdigit() and not half and minute % 15 == 0,
        day=bool(half),
    )


def _hour(text: str, tag: str) -> int | None:
    named = {word: hour for hour, word in _HOURS.get(tag, {}).items()}
    hour = named.get(text, numbers(tag).get(text, int(text) if text.isdigit() else 0))
    if tag in ("es", "pt") and not text.isdigit() and _hour_word(hour, tag) != text:
        return None
    return hour if 1 <= hour <= 12 else None


def _spelled(hour: int, minute: int, frame: str, said: str) -> Figure:
    return Figure(
        "clock",
        hour=hour or 12,
        minute=minute,
        frame=frame,
        spelled=not said.isdigit(),
    )


def _hour_word(hour: int, tag: str) -> str:
    return _HOURS.get(tag, {}).get(hour) or words(hour, tag)


def _say_clock(figure: Figure, target: str) -> str:
    hour, minute = figure.hour, figure.minute
    plain = figure.spelled and not figure.day and 1 <= hour <= 12
    if not plain and (figure.day or minute or not 1 <= hour <= 12):
        return _frame_of(figure.frame, hour, target).format(_digital(figure, target))
    number = _hour_word(hour, target) if plain else str(hour)
    after = _hour_word(hour % 12 + 1, target)
    if target == "en":
        forms = ("{} o'clock", "a quarter past {}", "half past {}", f"a quarter to {after}")
    elif target == "es":
        forms = ("{}", "{} y cuarto", "{} y media", f"{after} menos cuarto")
    elif target == "pt":
        article = "a" if hour % 12 + 1 == 1 else "as"
        forms = ("{}", "{} e quinze", "{} e meia", f"quinze para {article} {after}")
        if not minute and figure.frame != "at":
            forms = ("{} hora" if hour == 1 else "{} horas", *forms[1:])
    else:
        forms = ("{}点", "{}点一刻", "{}点半", "{}点三刻")
    said = forms[minute // 15].format(number)
    counted = hour % 12 + 1 if minute == 45 and target == "es" else hour
    if target == "pt" and minute == 45:
        return f"{'às ' if figure.frame == 'at' else 'são ' if figure.frame else ''}{said}"
    if target == "es" and not figure.frame:
        return ("la " if counted == 1 else "las ") + said
    return _frame_of(figure.frame, counted, target).format(said)


def _frame_of(frame: str, hour: int, target: str) -> str:
    one = hour % 12 == 1 and hour < 13
    return {
        "en": {"is": "it's {}", "at": "at {}"},
        "es": {"is": "es la {}" if one else "son las {}", "at": "a la {}" if one else "a las {}"},
        "pt": {"is": "é {}" if one else "são {}", "at": "à {}" if one else "às {}"},
        "zh": {"is": "现在{}", "at": "{}"},
    }[target].get(frame, "{}")


def _digital(figure: Figure, target: str) -> str:
    """As the CLDR's short form where the half of the day is known or needs no knowing."""
    hour, minute = figure.hour, figure.minute
    if target == "en" and (figure.day or hour > 12 or hour == 0):
        return f"{hour % 12 or 12}:{minute:02} {'PM' if hour >= 12 else 'AM'}"
    if figure.day and target in ("pt", "zh"):
        return f"{hour:02}:{minute:02}"
    return f"{hour}:{minute:02}"
