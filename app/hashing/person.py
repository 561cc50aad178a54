"""Names, gender and birth date: the forms fn.1-3, ln.1-3, ge.1, ge.2 and db.1."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from app.hashing import junk
from app.hashing.codes import Code
from app.hashing.text import ascii_digits, clean, compatible, letters, lower, narrow, spaced

LONGEST = 128
ADULT_ENOUGH_YEARS = 13
EARLIEST_YEAR = 1900

_PREFIXES = frozenset({"mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "herr", "frau"})
_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv", "phd", "md", "esq"})

_GENDERS = {
    **dict.fromkeys(
        ("f", "female", "woman", "w", "girl", "mrs", "ms", "miss", "weiblich", "frau", "femme", "mujer", "donna"), "f"
    ),
    **dict.fromkeys(
        ("m", "male", "man", "boy", "mr", "männlich", "maennlich", "mann", "herr", "homme", "hombre", "uomo"), "m"
    ),
    **dict.fromkeys(("n", "nb", "x", "enby", "nonbinary"), "n"),
}

_YEAR_FIRST = re.compile(r"([0-9]{4})\s?[-/., ]\s?([0-9]{1,2})\s?[-/., ]\s?([0-9]{1,2})(?:[T ][0-9:.+Zz-]{1,24})?")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_YEAR_LAST = re.compile(r"([0-9]{1,2})\s?[-/.]\s?([0-9]{1,2})\s?[-/.]\s?([0-9]{4})")


def name(text: str) -> str | Code:
    """A first or last name ready for its forms: composed, trimmed, in lower case."""
    if text.isascii() and text.isalpha() and len(text) <= LONGEST:
        lowered = text.lower()
        return lowered if lowered not in junk.NAME_WORDS else Code.JUNK_NAME
    cleaned = narrow(clean(text))
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    lowered = lower(cleaned)
    if lowered in junk.NAME_WORDS or "@" in lowered or junk.is_template(lowered):
        return Code.JUNK_NAME
    return lowered


def name1(name: str) -> str:
    """The forms fn.1 and ln.1: letters, marks and digits only; accents stay, blanks and punctuation go.

    Source: Meta, customer information parameters and capi-param-builder 1.3.2; Snapchat, Conversions API parameters.
    Read 2026-11-20. Documented but for the inner blank, which Meta's pixel removes and Snapchat leaves open.
    """
    return letters(name)


def name2(name: str) -> str:
    """The forms fn.2 and ln.2: without punctuation, titles and suffixes; one space between words.

    Source: Google, Data Manager API, format user data; TikTok, parameters page. Read 2026-11-20. Documented by
    Google; TikTok's page is known second-hand. The list of titles and suffixes is ours.
    """
    if name.isascii() and name.isalpha():
        return name
    words = spaced(name.replace(",", " ")).split(" ")
    start, end = 0, len(words)
    while start < end - 1 and words[start] in _PREFIXES:
        start += 1
    while end > start + 1 and words[end - 1] in _SUFFIXES:
        end -= 1
    return " ".join(words[start:end])


def name3(name: str) -> str:
    """The forms fn.3 and ln.3: lower case and trimmed, nothing else; punctuation stays.

    Source: Pinterest, api-description 5.23. Read 2026-11-20. Lower case is documented; on punctuation the page is
    silent.
    """
    return name


def gender(text: str) -> str | Code:
    """The form ge.2: `f`, `m` or `n`, from a closed list of words. ge.1 is the same without `n`.

    Source: Pinterest, api-description 5.23 (three letters); Meta, customer information parameters, and Snapchat,
    Conversions API parameters (`f` and `m`). Read 2026-11-20. The letters are documented, the words inferred.
    """
    word = letters(clean(text))
    if word in junk.WORDS:
        return Code.JUNK_GENDER
    return _GENDERS.get(word, Code.GENDER_UNKNOWN)


def birth_date(text: str, today: date, order: Literal["refuse", "mdy", "dmy"] = "refuse") -> str | Code:
    """The form db.1: `YYYYMMDD`. Only the date part of an instant counts; there is no shift of time zone.

    Year first is always understood. With the year last, a part above 12 settles which is the day; otherwise
    `order` decides. Years of two digits are refused.

    Source: Meta, customer information parameters; Pinterest, api-description 5.23. Read 2026-11-20. Documented are
    the form and the years from 1900; the orders, the dates forms fill in by default and the age limit are ours.
    """
    if _ISO.fullmatch(text):
        try:
            return _plausible(date.fromisoformat(text), today)
        except ValueError:
            return Code.BIRTH_DATE_INVALID
    cleaned = ascii_digits(compatible(text))
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    found = _COMPACT.fullmatch(cleaned) or _YEAR_FIRST.fullmatch(cleaned)
    if found:
        year, month, day = (int(part) for part in found.groups())
    else:
        found = _YEAR_LAST.fullmatch(cleaned)
        if not found:
            return Code.JUNK_BIRTH_DATE if junk.is_junk(cleaned.lower()) else Code.BIRTH_DATE_INVALID
        first, second, year = (int(part) for part in found.groups())
        if first > 12 or first == second:
            day, month = first, second
        elif second > 12:
            month, day = first, second
        elif order == "refuse":
            return Code.BIRTH_DATE_AMBIGUOUS
        else:
            month, day = (first, second) if order == "mdy" else (second, first)
    try:
        return _plausible(date(year, month, day), today)
    except ValueError:
        return Code.BIRTH_DATE_INVALID


def _plausible(born: date, today: date) -> str | Code:
    if born.year < EARLIEST_YEAR:
        return Code.BIRTH_DATE_INVALID
    normal = born.isoformat().replace("-", "")
    if normal in junk.BIRTH_DATES:
        return Code.JUNK_BIRTH_DATE
    years = today.year - born.year
    if years < ADULT_ENOUGH_YEARS or (
        years == ADULT_ENOUGH_YEARS and (born.month, born.day) > (today.month, today.day)
    ):
        return Code.CHILD_SUSPECTED
    return normal
