"""What comes after acceptance: a question to ask later, and events that adjust an earlier one. Values and signatures.

A platform may take a request and refuse some of its events afterwards; it is asked about that (`Later`). And it may
have no event for what happened next, but let an earlier conversion be changed (`Adjustment`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from app.model import HashedEvent, HttpCall, HttpReply, Park, Retry

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a request, as far as the platform says.

    `refused`: position among its events to the reason, in the platform's words made lower case. `unplaced`: reason to
    how many, where the platform does not say which. `is_final` says that nothing more is to be learnt.
    """

    is_final: bool
    refused: Mapping[int, str] = field(default_factory=dict)
    unplaced: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Later(Generic[S]):
    """A question about a request that was taken, by the trace id it was taken under.

    `first_after` is how long to wait before the first; the waits then grow. `ask` builds it (the call carries no
    deliveries); `read` gets the answer and how many events the request had. `reasons` are those a metric may be
    labelled with, any other being `other`. Nothing is asked about test events.
    """

    first_after: Callable[[S], timedelta]
    give_up_after: timedelta
    ask: Callable[[str, S], HttpCall]
    read: Callable[[HttpReply, int], Report | Retry | Park]
    reasons: frozenset[str]


@dataclass(frozen=True, slots=True)
class Precedent:
    """What is remembered of a delivered conversion: its money, and what was taken off it since, by event_id."""

    money: tuple[str, Decimal] | None = None
    taken_off: Mapping[str, Decimal | None] = field(default_factory=dict)
    """None stands for all of it."""


@dataclass(frozen=True, slots=True)
class Adjustment(Generic[S]):
    """Says that events named `event_name` change the conversion of the event `of` of their transaction.

    They are sent after that one was delivered and never otherwise. `memory` is how long delivered ones are remembered
    (zero: not at all), `is_adjustable` whether one can be changed at all. `apply` gives the event as it is to be sent,
    from the event, its event_id and the precedent, or says why it cannot be.
    """

    event_name: str
    of: str
    memory: Callable[[S], timedelta]
    is_adjustable: Callable[[HashedEvent, S], bool]
    apply: Callable[[HashedEvent, str, Precedent], HashedEvent | str]
