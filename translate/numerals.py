"""Number words, from numbers and back. Pure. The tests hold them against num2words."""

from __future__ import annotations

from functools import cache

_ONES = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce "
    "quince dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés "
    "veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze "
    "dezesseis dezessete dezoito dezenove",
    "zh": "零 一 二 三 四 五 六 七 八 九",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "pt": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
}
_HUNDREDS = {
    "es": "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos "
    "ochocientos novecientos",
    "pt": "cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos "
    "novecentos",
}
# Other spellings, as (in the number, instead).
_ALSO = {
    "en": ((" and ", " "), ("one hundred", "a hundred"), ("one thousand", "a thousand")),
    "es": (("dieciséis", "dieciseis"), ("veintidós", "veintidos"), ("veintitrés", "veintitres")),
    "pt": (
        ("dezesseis", "dezasseis"),
        ("dezessete", "dezassete"),
        ("dezenove", "dezanove"),
        ("catorze", "quatorze"),
    ),
    "zh": (("两百", "二百"), ("两千", "二千")),
}


def words(number: int, tag: str) -> str:
    """A number from 0 to 999, or 1,000 to 10,000 by the thousand, as it is counted."""
    if number >= 1000:
        return _thousands(number // 1000, tag)
    if tag == "zh":
        return _chinese(number)
    ones, tens = _ONES[tag].split(), _TENS[tag].split()
    hundred, rest = divmod(number, 100)
    if rest < len(ones):
        small = ones[rest]
    else:
        ten, one = divmod(rest, 10)
        glue = "-" if tag == "en" else f" {_and(tag)} "
        small = tens[ten - 2] + (glue + ones[one] if one else "")
    if not hundred:
        return small
    if tag == "en":
        return f"{ones[hundred]} hundred" + (f" and {small}" if rest else "")
    if number == 100:
        return "cien" if tag == "es" else "cem"
    head = _HUNDREDS[tag].split()[hundred - 1]
    between = " e " if tag == "pt" else " "
    return head + (between + small if rest else "")


def _and(tag: str) -> str:
    return "y" if tag == "es" else "e"


def _thousands(count: int, tag: str) -> str:
    if tag == "zh":
        return "一万" if count == 10 else ("两" if count == 2 else _chinese(count)) + "千"
    if tag == "en":
        return f"{words(count, tag)} thousand"
    return "mil" if count == 1 else f"{words(count, tag)} mil"


def _chinese(number: int) -> str:
    ones = _ONES["zh"].split()
    hundred, rest = divmod(number, 100)
    ten, one = divmod(rest, 10)
    last = ones[one] if one else ""
    if not hundred:
        return ones[number] if number < 10 else (ones[ten] if ten > 1 else "") + "十" + last
    head = ("两" if hundred == 2 else ones[hundred]) + "百"
    if not rest:
        return head
    return head + (ones[ten] + "十" if ten else "零") + last


@cache
def numbers(tag: str) -> dict[str, int]:
    """Every spelling in a language to its number, hyphens as spaces."""
    found: dict[str, int] = {}
    for number in [*range(1000), *range(1000, 10_001, 1000)]:
        spellings = {words(number, tag)}
        for there, instead in _ALSO[tag]:
            spellings |= {spelling.replace(there, instead) for spelling in spellings}
        for spelling in spellings:
            found.setdefault(spelling.replace("-", " "), number)
    if tag == "zh":
        found["两"] = 2
    return found
