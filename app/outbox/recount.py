"""Whether the ledger's counts are what the store holds: both sides added up, and compared. Pure.

What has ended is forgotten with its event, and only its count stays. What is pending and what is dead is there, and can
be counted again: an end that was counted and did not happen, or happened twice, shows as a difference there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from app.errors import Outcome

PENDING = "pending"
DEAD = Outcome.DEAD.value
PURGED = "purged"
"""Dead letters whose events were deleted on purpose: counted as dead, and not there any more."""

Place = tuple[str, str, str]
"""Destination, state, currency; the currency is empty where a delivery has no money."""


@dataclass(slots=True)
class Sum:
    """How many deliveries, and how much money of one currency."""

    deliveries: int = 0
    amount: Decimal = field(default_factory=Decimal)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the ledger and the store disagree: deliveries, or where `currency` says so money of that currency.

    `counted` and `stored` are those of the parts of the store that disagree.
    """

    destination: str
    state: str
    currency: str | None
    counted: Decimal
    stored: Decimal

    @property
    def by(self) -> Decimal:
        """How much the ledger counts too many; negative: too few."""
        return self.counted - self.stored


@dataclass(frozen=True, slots=True)
class Recount:
    """What a recount found. `deliveries` is how many are stored; `unread` are those whose money was not added up."""

    deliveries: int
    differences: tuple[Difference, ...] = ()
    unread: int = 0


def compare(counted: Mapping[Place, Sum], stored: Mapping[Place, Sum], *, with_money: bool = True) -> list[Difference]:
    """Every difference in pending and dead, by destination and state; without money, only in how many there are.

    `counted` are the ledger's own counts, PURGED among its states; other states are left alone.
    """
    expected: dict[Place, Sum] = {}
    for (name, state, currency), held in counted.items():
        if state not in {PENDING, DEAD, PURGED}:
            continue
        sign = -1 if state == PURGED else 1
        place = (name, DEAD if state == PURGED else state, currency)
        known = expected.setdefault(place, Sum())
        known.deliveries += sign * held.deliveries
        known.amount += sign * held.amount
    found: list[Difference] = []
    every = sorted({place[:2] for place in (*expected, *stored)})
    for name, state in every:
        currencies = sorted({place[2] for place in (*expected, *stored) if place[:2] == (name, state)})
        pairs = [
            (currency, expected.get((name, state, currency), Sum()), stored.get((name, state, currency), Sum()))
            for currency in currencies
        ]
        number, there = sum(ours.deliveries for _, ours, _ in pairs), sum(theirs.deliveries for *_, theirs in pairs)
        if number != there:
            found.append(Difference(name, state, None, Decimal(number), Decimal(there)))
        if with_money:
            found += [
                Difference(name, state, currency, ours.amount, theirs.amount)
                for currency, ours, theirs in pairs
                if currency and ours.amount != theirs.amount
            ]
    return found


def merged(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """The differences of several parts of a store as those of the whole, without what evens out."""
    sums: dict[tuple[str, str, str | None], tuple[Decimal, Decimal]] = {}
    for each in differences:
        key = (each.destination, each.state, each.currency)
        counted, stored = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = counted + each.counted, stored + each.stored
    return tuple(Difference(*key, *pair) for key, pair in sums.items())
