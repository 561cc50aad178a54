"""A finding: what was looked at, how it stands, in words, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How something stands. UNKNOWN is what could not be looked at."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


CHECKS: Mapping[str, str] = {
    "config": "Configuration",
    "store": "Store",
    "gateway": "Gateway",
    "clock": "Clock",
    "tokens": "Tokens and permissions",
    "versions": "API versions",
    "lanes": "Lanes",
    "ledger": "Ledger",
    "freshness": "Freshness",
    "event_names": "Event names",
    "pairs": "Deduplication with the pixel",
    "consent": "Consent",
    "match_keys": "Match keys",
    "rejects": "Rejected events",
    "leaks": "Personal data in the wrong place",
}
"""Everything that is looked at, in the order it is told, with its heading. Every check gives at least one finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `next_step` is there unless there is nothing to do."""

    check: str
    level: Level
    words: str
    next_step: str | None = None


def unknown(check: str, why: str, next_step: str | None = None) -> Finding:
    """The finding about a check that could not be done."""
    return Finding(check, Level.UNKNOWN, f"not checked: {why}", next_step)


def is_sound(findings: Iterable[Finding], *, is_strict: bool = False) -> bool:
    """Whether there is no problem; where `is_strict`, nothing but what is fine."""
    bad = {Level.PROBLEM, Level.WARNING, Level.UNKNOWN} if is_strict else {Level.PROBLEM}
    return not any(finding.level in bad for finding in findings)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 event`, `2 events`; `plural` where it is not the noun and an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def percent(part: int, whole: int) -> str:
    """A share in words, `3.5 %`; never 0 % or 100 % of what is not none or all."""
    if not whole or part in {0, whole}:
        return f"{100 if part else 0} %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


def span(seconds: float) -> str:
    """A length of time as people say it."""
    for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), noun)
    return counted(max(0, int(seconds)), "second")
