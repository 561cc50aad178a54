"""Checks of single JSON values: each returns what is wrong with the value, or None.

Types are compared exactly, so that `true` is no integer and `"12"` no number, as a typed schema would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple

Check = Callable[[Any], str | None]
DAY_S = 86_400

_is_hash = re.compile(r"[0-9a-f]{64}").fullmatch
_is_any_hash = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_is_decimal = re.compile(r"-?\d+(\.\d+)?").fullmatch
_is_currency = re.compile(r"[A-Za-z]{3}").fullmatch
_is_url = re.compile(r"https?://[^\s/?#]+\S*").fullmatch


class Problem(NamedTuple):
    """The first thing wrong with an event: where, what, and the value the platform would echo."""

    where: str
    what: str
    value: object = None


def fields(table: Mapping[str, Check], value: dict[str, Any], at: str, unknown: list[str]) -> Problem | None:
    """The first bad field of an object; keys outside the table are appended to `unknown`, with their path."""
    for key, item in value.items():
        check = table.get(key)
        if check is None:
            unknown.append(at + key)
            continue
        wrong = check(item)
        if wrong is not None:
            return Problem(at + key, wrong, item)
    return None


def missing(names: tuple[str, ...], value: dict[str, Any], at: str = "") -> Problem | None:
    """The first of the names that the object lacks."""
    for name in names:
        if name not in value:
            return Problem(at + name, "is required")
    return None


def string(value: Any) -> str | None:
    """Any string."""
    return None if type(value) is str else "must be a string"


def text(value: Any) -> str | None:
    """A string that is not empty."""
    return None if type(value) is str and value else "must be a non-empty string"


def plain(value: Any) -> str | None:
    """A non-empty string that is not a SHA-256 digest: the platform wants the value itself."""
    if type(value) is not str or not value:
        return "must be a non-empty string"
    return "must not be hashed" if len(value) == 64 and _is_any_hash(value) else None


def integer(value: Any) -> str | None:
    """A JSON integer."""
    return None if type(value) is int else "must be an integer"


def number(value: Any) -> str | None:
    """A JSON number."""
    return None if type(value) is float or type(value) is int else "must be a number"


def boolean(value: Any) -> str | None:
    """A JSON boolean."""
    return None if type(value) is bool else "must be true or false"


def obj(value: Any) -> str | None:
    """A JSON object."""
    return None if type(value) is dict else "must be an object"


def strings(value: Any) -> str | None:
    """A list of strings."""
    if type(value) is list and all(type(item) is str for item in value):
        return None
    return "must be a list of strings"


def string_or_strings(value: Any) -> str | None:
    """A non-empty string, or a non-empty list of them."""
    if type(value) is list:
        return None if value and all(type(v) is str and v for v in value) else "must hold strings"
    return text(value)


def hashed(value: Any) -> str | None:
    """A lower-case SHA-256 digest, or a non-empty list of them."""
    if type(value) is list:
        return hashed_list(value)
    return None if type(value) is str and _is_hash(value) else "must be a lower-case SHA-256 digest"


def hashed_list(value: Any) -> str | None:
    """A non-empty list of lower-case SHA-256 digests."""
    if type(value) is not list or not value:
        return "must be a list of SHA-256 digests"
    for item in value:
        if type(item) is not str or not _is_hash(item):
            return "must be a lower-case SHA-256 digest"
    return None


def decimal_text(value: Any) -> str | None:
    """A string that holds a plain decimal number."""
    return None if type(value) is str and _is_decimal(value) else "must be a decimal number in a string"


def number_or_text(value: Any) -> str | None:
    """A number, or a string that holds one."""
    return None if number(value) is None or decimal_text(value) is None else "must be a number"


def currency(value: Any) -> str | None:
    """Three letters, as ISO 4217 has them."""
    return None if type(value) is str and _is_currency(value) else "must be an ISO 4217 code"


def url(value: Any) -> str | None:
    """An absolute http or https URL."""
    return None if type(value) is str and _is_url(value) else "must be a full URL"


@lru_cache(maxsize=8192)
def _parses_as_ip(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def ip(value: Any) -> str | None:
    """An IPv4 or IPv6 address in the clear."""
    return None if type(value) is str and _parses_as_ip(value) else "must be an IP address"


def one_of(*allowed: object) -> Check:
    """A check for a closed list of values."""
    names = frozenset(allowed)
    wrong = "must be one of " + ", ".join(sorted(map(str, names)))

    def check(value: Any) -> str | None:
        return None if type(value) in (str, int) and value in names else wrong

    return check


def shaped(pattern: str, what: str) -> Check:
    """A check for strings of one shape."""
    match = re.compile(pattern).fullmatch
    return lambda value: None if type(value) is str and match(value) else what


def nullable(check: Check) -> Check:
    """The same check, with null allowed."""
    return lambda value: None if value is None else check(value)


def at_most(length: int) -> Check:
    """A check for strings of bounded length."""
    return lambda value: (
        None if type(value) is str and len(value) <= length else f"must be a string of at most {length} characters"
    )


def listed(table: Mapping[str, Check], *, closed: bool = False) -> Check:
    """A check for a list of objects whose known fields pass the table."""

    def check(value: Any) -> str | None:
        if type(value) is not list:
            return "must be a list of objects"
        for index, item in enumerate(value):
            if type(item) is not dict:
                return f"[{index}] must be an object"
            unknown: list[str] = []
            problem = fields(table, item, "", unknown)
            if problem is not None:
                return f"[{index}].{problem.where} {problem.what}"
            if closed and unknown:
                return f"[{index}].{unknown[0]} was unexpected"
        return None

    return check


def age(event_time_s: float, now: float, past_s: float, ahead_s: float) -> Literal["old", "future"] | None:
    """On which side of the platform's window an instant lies, or None inside it."""
    if event_time_s < now - past_s:
        return "old"
    return "future" if event_time_s > now + ahead_s else None


def amount(value: Any) -> Decimal | None:
    """The exact amount of a JSON number (by its shortest text) or of a string; None when it is neither."""
    if type(value) is str:
        try:
            found = Decimal(value)
        except InvalidOperation:
            return None
        return found if found.is_finite() else None
    return Decimal(repr(value)) if number(value) is None else None


def text_or_none(value: Any) -> str | None:
    """The value if it is a non-empty string."""
    return value if type(value) is str and value else None
