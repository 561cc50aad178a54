"""Personal data recognised by its shape: e-mail, phone, card, IBAN, US social security number, JWT, digest.

Each pattern is bounded and guarded against what shops write every day: order numbers, SKUs, EAN codes, file names.
The phone library is never used to look for numbers: it sees one in every order id.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import unquote

from app.hashing.phone import COUNTRY_CODES

DATA = tomllib.loads(files(__package__).joinpath("leaks.toml").read_text(encoding="utf-8"))
_FILE_ENDINGS: frozenset[str] = frozenset(DATA["email"]["file_endings"])
_IBAN_LENGTHS: dict[str, int] = DATA["iban"]


class Kind(StrEnum):
    """What a finding is."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"
    SSN = "ssn"
    PERSON = "person"
    SECRET = "secret"  # noqa: S105  (a kind of finding)
    DIGEST = "digest"
    UNSCANNED = "unscanned"


class Match(NamedTuple):
    """Something found in a text. `is_sure` is False where the shape alone is weak evidence: reported, not redacted."""

    kind: Kind
    start: int
    end: int
    is_sure: bool


_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.!#$&'*+/=?^`{|}~-]{1,64}(?:@|%40|%2540)((?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24}))(?![^\W\d_])"
)
_PHONE = re.compile(r"(?<![\w+])\+(?:[ ().-]{0,2}[0-9]){8,15}(?![\w-])")
_CARD = re.compile(
    r"(?<![\w.-])(?:3[47][0-9]{2}([ -]?)[0-9]{6}\1[0-9]{5}"
    r"|(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6(?:011|5[0-9]{2}))([ -]?)[0-9]{4}\2[0-9]{4}\2[0-9]{4})(?![\w.-])"
)
_IBAN = re.compile(r"(?<![\w-])([A-Z]{2})[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,2000}\.eyJ[A-Za-z0-9_-]{5,2000}\.[A-Za-z0-9_-]{5,1000}")
_DIGEST = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64}(?![0-9A-Za-z])")
_LONG_DIGITS = re.compile(r"[0-9]{3}[ -]?[0-9]")
_VERSION = re.compile(r"[0-9]+\.[0-9]")
_NOT_DIGIT = re.compile(r"[^0-9]")
_SHORTEST = 6
_SHORTEST_OTHER = 11
"""An e-mail address has six characters at least; what has neither `@` nor `+` nor `%` has eleven."""


def may_hold(text: str) -> bool:
    """Whether `find` is worth calling: a cheap look that spares most texts the patterns. Never False for a match."""
    if len(text) < _SHORTEST or (len(text) < 64 and text.isalpha()):
        return False
    if "@" in text or "+" in text or "%" in text:
        return True
    if len(text) < _SHORTEST_OTHER:
        return False
    return _LONG_DIGITS.search(text) is not None or "eyJ" in text or len(text) >= 64


def find(text: str) -> Iterator[Match]:
    """Everything in `text` that has the shape of personal data, kind by kind."""
    if "@" in text or "%40" in text or "%2540" in text:
        for found in _EMAIL.finditer(text):
            if not _is_file_or_version(found.group(1)):
                yield Match(Kind.EMAIL, found.start(), found.end(), True)
    if "+" in text:
        for found in _PHONE.finditer(text):
            if _is_phone(found.group()):
                yield Match(Kind.PHONE, found.start(), found.end(), True)
    if _LONG_DIGITS.search(text):
        for found in _CARD.finditer(text):
            if _is_luhn(found.group()):
                yield Match(Kind.CARD, found.start(), found.end(), bool(found.group(1) or found.group(2)))
        for found in _SSN.finditer(text):
            yield Match(Kind.SSN, found.start(), found.end(), True)
        for found in _IBAN.finditer(text):
            if _is_iban(found.group()):
                yield Match(Kind.IBAN, found.start(), found.end(), True)
    if "eyJ" in text:
        for found in _JWT.finditer(text):
            yield Match(Kind.SECRET, found.start(), found.end(), True)
    if len(text) >= 64:
        for found in _DIGEST.finditer(text):
            yield Match(Kind.DIGEST, found.start(), found.end(), False)


def find_in_id(text: str) -> Kind | None:
    """The kind of personal data that an order, transaction or event id, or an event name, holds; None for most.

    Such an id is refused, never redacted: every order would get the same one. So only what is beyond doubt counts: an
    e-mail address, a phone number with `+`, a grouped card number, an IBAN.
    """
    if not may_hold(text):
        return None
    decoded = unquote(unquote(text)) if "%" in text else text
    for match in find(decoded):
        if match.is_sure and match.kind in (Kind.EMAIL, Kind.PHONE, Kind.CARD, Kind.IBAN):
            return match.kind
    return None


def is_card(text: str) -> bool:
    """Whether `text` is a card number, grouped or not: for use under a key that says so."""
    found = _CARD.fullmatch(text.strip())
    return found is not None and _is_luhn(found.group())


def is_phone_shaped(text: str) -> bool:
    """Whether `text` could be a phone number: for use under a key that says so."""
    digits = sum(char.isdigit() for char in text)
    return 7 <= digits <= 15 and all(char.isdigit() or char in " +().-/" for char in text)


def _is_file_or_version(domain: str) -> bool:
    """Whether what follows the `@` is a file name (`user@2x.png`) or a version (`package@1.0.0-beta.rc`)."""
    return not _FILE_ENDINGS.isdisjoint(domain.lower().split(".")[1:]) or _VERSION.match(domain) is not None


def _is_phone(text: str) -> bool:
    digits = _NOT_DIGIT.sub("", text)
    for length in (1, 2, 3):
        if digits[:length] in COUNTRY_CODES:
            national = digits[length:]
            return (national[0] != "0" or length == 2) and len(set(national)) > 2
    return False


def _is_luhn(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    bare = text.replace(" ", "")
    if _IBAN_LENGTHS.get(bare[:2]) != len(bare):
        return False
    return int("".join(str(int(char, 36)) for char in bare[4:] + bare[:4])) % 97 == 1
