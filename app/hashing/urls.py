"""Personal data taken out of a URL: user information, query, fragment and path. Click ids survive byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from app.hashing.detectors import DATA, Kind, find, may_hold
from app.hashing.leak_keys import compact, kind_of_key

LONGEST = 2048
REDACTED = "redacted"

_CLICK_IDS: frozenset[str] = frozenset(DATA["url"]["click_ids"])
_PARAMETERS: frozenset[str] = frozenset(DATA["url"]["parameters"])
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)([^/?#]*)")
_SUSPICIOUS = re.compile(
    r"[@=]|%40|%2540|%(?:25)?2B[0-9]|/\+[0-9]|[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{4}.{1,5}[0-9]{4}|eyJ", re.IGNORECASE
)


def clean(url: str, allowed: frozenset[str] = frozenset()) -> tuple[str, list[tuple[Kind, bool]]]:
    """`url` without personal data, and what was found: the kind, and whether it was sure enough to be taken out.

    What is untouched is untouched byte for byte. `allowed` are e-mail addresses that may stay, in lower case.
    """
    found: list[tuple[Kind, bool]] = []
    if not _SUSPICIOUS.search(url):
        return cut(url), found
    rest, hash_mark, fragment = url.partition("#")
    rest, question_mark, query = rest.partition("?")
    start = ""
    authority = _AUTHORITY.match(rest)
    if authority:
        scheme, host = authority.groups()
        start, path = scheme + host, rest[authority.end() :]
        if "@" in host:
            start = scheme + host.rpartition("@")[2]
            found.append((Kind.SECRET, True))
    else:
        path = rest
    cleaned = start + _path(path, allowed, found)
    if question_mark:
        cleaned += "?" + _query(query, allowed, found)
    if hash_mark:
        before, mark, after = fragment.partition("?")
        if mark:
            cleaned += "#" + _path(before, allowed, found) + "?" + _query(after, allowed, found)
        elif "=" in fragment:
            cleaned += "#" + _query(fragment, allowed, found)
        else:
            cleaned += "#" + _path(fragment, allowed, found)
    return cut(cleaned), found


def cut(url: str) -> str:
    """`url` within the length platforms take, cut between two parameters where there are any."""
    if len(url) <= LONGEST:
        return url
    end = max(url.rfind(mark, 0, LONGEST + 1) for mark in "&#?")
    return url[:end] if end > 0 else url[:LONGEST]


def _path(path: str, allowed: frozenset[str], found: list[tuple[Kind, bool]]) -> str:
    if not may_hold(path):
        return path
    return "/".join(REDACTED if _holds(segment, allowed, found) else segment for segment in path.split("/"))


def _query(query: str, allowed: frozenset[str], found: list[tuple[Kind, bool]]) -> str:
    return "&".join(_parameter(each, allowed, found) for each in query.split("&"))


def _parameter(parameter: str, allowed: frozenset[str], found: list[tuple[Kind, bool]]) -> str:
    name, equals, value = parameter.partition("=")
    lowered = unquote(unquote(name)).lower() if "%" in name else name.lower()
    if lowered in _CLICK_IDS:
        return parameter
    if value:
        key = compact(lowered[lowered.find("[") + 1 : -1] if lowered.endswith("]") else lowered)
        kind = kind_of_key(key) or (_kind_of_parameter(key) if key in _PARAMETERS else None)
        if kind:
            found.append((kind, True))
            return f"{name}="
    if _holds(name, allowed, found):
        return REDACTED
    return f"{name}{equals}{REDACTED}" if value and _holds(value, allowed, found) else parameter


def _kind_of_parameter(key: str) -> Kind:
    if "mail" in key or key == "em":
        return Kind.EMAIL
    if key == "ph":
        return Kind.PHONE
    return Kind.PERSON if key in ("fn", "ln") or key.startswith(("zip", "post")) else Kind.SECRET


def _holds(text: str, allowed: frozenset[str], found: list[tuple[Kind, bool]]) -> bool:
    """Whether `text`, decoded as often as links carry it, holds personal data beyond doubt."""
    if not may_hold(text):
        return False
    is_sure = False
    for decoded in _readings(text):
        for match in find(decoded):
            if match.kind is Kind.EMAIL and decoded[match.start : match.end].lower() in allowed:
                continue
            if match.kind is Kind.DIGEST:
                continue  # order tokens in links look so
            if (match.kind, match.is_sure) not in found:
                found.append((match.kind, match.is_sure))
            is_sure = is_sure or match.is_sure
    return is_sure


def _readings(text: str) -> Iterable[str]:
    """What `text` may stand for: decoded up to twice, its plus signs as they are or, as forms write them, as blanks."""
    if "%" not in text:
        return (text,) if "+" not in text else (text, text.replace("+", " "))
    once = unquote(text)
    twice = unquote(once)
    spaced = unquote(unquote(text.replace("+", " ")))
    return dict.fromkeys((twice, twice.replace("+", " "), unquote(once.replace("+", " ")), spaced))
