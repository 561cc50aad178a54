"""The ledger, summed over the state counts of all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from app.outbox.port import LEDGER_STATES, PENDING, QUEUED, Account, Ledger
from app.outbox.redis.records import MILLION, OUTCOMES, STATE_PENDING, STATE_PURGED

_PURGED = str(STATE_PURGED)
_STATES = {"q": QUEUED, str(STATE_PENDING): PENDING} | {str(number): OUTCOMES[number].value for number in OUTCOMES}


def ledger_of(names: Iterable[str], partitions: Sequence[Sequence[bytes]]) -> Ledger:
    """The sum of the state counts of all partitions; each of them closes in itself."""
    sums: dict[tuple[str, str, str, str], int] = {}
    for fields in partitions:
        for name, number in zip(fields[::2], fields[1::2], strict=True):
            destination, state, currency, what = name.decode().rsplit("\t", 3)
            if state == _PURGED:
                continue  # counted as dead
            key = (destination, state, currency, what)
            sums[key] = sums.get(key, 0) + int(number)
    every = {key[0] for key in sums}.union(names)
    deliveries = {name: dict.fromkeys((QUEUED, *LEDGER_STATES), 0) for name in every}
    money: dict[str, dict[str, dict[str, Decimal]]] = {name: {} for name in every}
    for (destination, state, currency, what), total in sums.items():
        if what == "n":
            deliveries[destination][_STATES[state]] += total
        if currency:
            zero = dict.fromkeys((QUEUED, *LEDGER_STATES), Decimal(0))
            account = money[destination].setdefault(currency, zero)
            if what != "n":
                account[_STATES[state]] += Decimal(total) if what == "u" else Decimal(total) / MILLION
    return {name: Account(deliveries[name], money[name]) for name in every}
