"""The ledger's state counts: kept in memory as they stand on disk, changed in the transaction of each change."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from app.outbox.port import LEDGER_STATES, PENDING, QUEUED, Account, Ledger
from app.outbox.recount import PURGED
from app.outbox.room import DELIVERY_BYTES, Waiting

Money = tuple[str, Decimal] | None
Key = tuple[int, str, str]
"""(lane, state, currency); the currency is empty where an event has no money."""

_NOTHING = Decimal(0)
_UPSERT = "INSERT OR REPLACE INTO counts (lane, state, currency, deliveries, amount) VALUES (?, ?, ?, ?, ?)"


def money_of(currency: str | None, amount: str | None) -> Money:
    """The money a delivery was counted with."""
    return None if currency is None or amount is None else (currency, Decimal(amount))


class Delta:
    """What one transaction adds to the counts."""

    __slots__ = ("amounts", "deliveries", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.deliveries: defaultdict[Key, int] = defaultdict(int)
        self.amounts: defaultdict[Key, Decimal] = defaultdict(Decimal)
        self.waiting: defaultdict[int, int] = defaultdict(int)
        self.waiting_bytes: defaultdict[int, int] = defaultdict(int)

    def queue(self, lane: int, money: Money, size: int) -> None:
        """Count one new delivery, whose event's body has `size` bytes."""
        self._add(lane, QUEUED, money, size, 1)
        self._add(lane, PENDING, money, size, 1)

    def move(self, lane: int, old: str, new: str, money: Money, size: int) -> None:
        """Count one delivery, whose event's body has `size` bytes, out of `old` and into `new`."""
        self._add(lane, old, money, size, -1)
        self._add(lane, new, money, size, 1)

    def purge(self, lane: int, money: Money) -> None:
        """Note that a dead letter's event is deleted: it stays counted as dead."""
        self._add(lane, PURGED, money, 0, 1)

    def _add(self, lane: int, state: str, money: Money, size: int, sign: int) -> None:
        key = (lane, state, money[0] if money else "")
        self.deliveries[key] += sign
        if money:
            self.amounts[key] += money[1] * sign
        if state == PENDING:
            self.waiting[lane] += sign
            self.waiting_bytes[lane] += sign * (size + DELIVERY_BYTES)


class Counts:
    """The counts of a whole store: as they are on disk, and as the open transaction makes them.

    Every step of a transaction calls `write`; `commit` or `rollback` follows once its end is known.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._kept: dict[Key, tuple[int, Decimal]] = {
            (lane, state, currency): (deliveries, Decimal(amount))
            for lane, state, currency, deliveries, amount in connection.execute(
                "SELECT lane, state, currency, deliveries, amount FROM counts"
            )
        }
        self._staged: dict[Key, tuple[int, Decimal]] = {}
        self._waiting: defaultdict[int, Waiting] = defaultdict(Waiting)
        for lane, number, size in connection.execute(
            "SELECT lane, count(*), sum(bytes) FROM deliveries INDEXED BY deliveries_waiting WHERE state = 0 "
            "GROUP BY lane"
        ):
            self._waiting[lane] = Waiting(number, size + number * DELIVERY_BYTES)
        self._arriving: defaultdict[int, Waiting] = defaultdict(Waiting)

    def waiting(self, lane: int) -> Waiting:
        """How much waits in a lane, with what was written into the open transaction."""
        kept, more = self._waiting[lane], self._arriving.get(lane)
        return kept if more is None else Waiting(kept.deliveries + more.deliveries, kept.bytes + more.bytes)

    def write(self, connection: sqlite3.Connection, delta: Delta) -> None:
        """Put the counts as they are with `delta` into the open transaction."""
        changed = {}
        for key, change in delta.deliveries.items():
            amount = delta.amounts.get(key, _NOTHING)
            if change or amount:
                deliveries, total = self._staged.get(key) or self._kept.get(key) or (0, _NOTHING)
                changed[key] = deliveries + change, total + amount
        self._staged |= changed
        for lane, number in delta.waiting.items():
            more = self._arriving[lane]
            self._arriving[lane] = Waiting(more.deliveries + number, more.bytes + delta.waiting_bytes[lane])
        connection.executemany(_UPSERT, [(*key, number, str(total)) for key, (number, total) in changed.items()])

    def commit(self) -> None:
        """The transaction is durable."""
        self._kept |= self._staged
        self._staged.clear()
        for lane in self._arriving:
            self._waiting[lane] = self.waiting(lane)
        self._arriving.clear()

    def rollback(self) -> None:
        """The transaction did not happen."""
        self._staged.clear()
        self._arriving.clear()

    def ledger(self, lanes: Mapping[int, str]) -> Ledger:
        """An account per lane, by destination name."""
        accounts = {}
        for lane, name in lanes.items():
            deliveries = dict.fromkeys((QUEUED, *LEDGER_STATES), 0)
            money: dict[str, dict[str, Decimal]] = {}
            for (of, state, currency), (number, total) in self._kept.items():
                if of != lane or state == PURGED:
                    continue
                deliveries[state] += number
                if currency:
                    account = money.setdefault(currency, dict.fromkeys((QUEUED, *LEDGER_STATES), Decimal(0)))
                    account[state] += total
            accounts[name] = Account(deliveries, money)
        return accounts
