"""What a platform itself says of the quality of the events it got. Values and signatures.

Beside what the gateway counts of its own sending stands what the platform made of it: whom it could match, which copies
it could pair. A platform that has a page for that is asked now and then (`Quality`); nothing depends on the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from app.model import HttpCall, HttpReply, Retry

S = TypeVar("S")


class Measure(StrEnum):
    """What a reading is of."""

    MATCH_QUALITY = "match_quality"
    """The platform's score, 0 to 10."""
    EVENT_COVERAGE = "event_coverage"
    """Server events as a share of the browser's, 0 to 1 and above."""
    KEY_COVERAGE = "key_coverage"
    """The share of events that carried the identifier `key`, 0 to 1."""
    DEDUP_COVERAGE = "dedup_coverage"
    """The share of browser events whose `key` the server's copies carry as well, 0 to 1."""
    STATUS = "status"
    """The platform's word for all of it, `key`; the value is 1."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure. `event_name` is one of Convey's standard names, empty where it is about all events."""

    measure: Measure
    value: float
    event_name: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Quality(Generic[S]):
    """How a platform is asked. `every` is None where it is not to be asked.

    `ask` builds the question (the call carries no deliveries). `read` gives what was said, or why nothing was.
    """

    every: Callable[[S], timedelta | None]
    ask: Callable[[S], HttpCall]
    read: Callable[[HttpReply], Sequence[Reading] | Retry]


def share(percentage: object) -> float | None:
    """A percentage as a share; None when it is none."""
    if isinstance(percentage, bool) or not isinstance(percentage, int | float):
        return None
    return percentage / 100 if percentage >= 0 else None
