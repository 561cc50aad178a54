"""Tables of a platform's codes: what each means, how sure that is, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal, TypeVar

from app.destinations.base.replies import each, isolate
from app.errors import Reason
from app.model import Delivered, Park, Result, Retry, Split

Evidence = Literal["documented", "official code", "second-hand", "measured", "seen in peers", "inferred"]
"""How sure a fact about a platform is, strongest first."""


class Consequence(StrEnum):
    """What follows from a code."""

    DELIVERED = "delivered"
    EVENT_AT_FAULT = "event at fault"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    PARK = "park"


@dataclass(frozen=True, slots=True)
class Ruling:
    """One row of a table of codes.

    `after` is the wait where the platform names none; `max_attempts` bounds the tries.
    """

    consequence: Consequence
    meaning: str
    sure: Evidence = "documented"
    after: timedelta | None = None
    max_attempts: int | None = None


C = TypeVar("C")


def rulings(consequence: Consequence, sure: Evidence, meanings: Mapping[C, str]) -> dict[C, Ruling]:
    """Rows of one consequence and one evidence, from the meaning of each code."""
    return {code: Ruling(consequence, meaning, sure) for code, meaning in meanings.items()}


def applied(
    ruling: Ruling,
    size: int,
    detail: str | None,
    *,
    after: timedelta | None = None,
    suspects: tuple[int, ...] = (),
    trace_id: str | None = None,
) -> Sequence[Result] | Split | Park:
    """What a ruling means for a batch of `size`; `after` is the platform's own hint and wins over the table's."""
    wait = after or ruling.after
    match ruling.consequence:
        case Consequence.DELIVERED:
            return each(Delivered(trace_id, detail), size)
        case Consequence.EVENT_AT_FAULT:
            return isolate(size, detail, suspects, trace_id)
        case Consequence.THROTTLED:
            return each(Retry(Reason.RATE_LIMITED, wait, detail, ruling.max_attempts), size)
        case Consequence.TRANSIENT:
            return each(Retry(Reason.PLATFORM_ERROR, wait, detail, ruling.max_attempts), size)
        case Consequence.PARK:
            return Park(Reason.CREDENTIALS, detail)
