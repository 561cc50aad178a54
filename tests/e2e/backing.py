"""What an end-to-end test needs to know of a store's engine: how to name it, and how to read it behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from app.outbox.redis import RedisStore
from app.outbox.sqlite import SqliteStore
from tests.e2e.harness import CURRENCY, PLATFORMS, Book, Order, read_book
from tests.redis_server import RedisServer

AT_ONCE = 100


class Waiting(NamedTuple):
    """How many deliveries are pending, and how many of them are ready by an instant."""

    pending: int
    ready: int


class Backing(Protocol):
    """One store, whichever engine has it."""

    settings: dict[str, Any]
    """The `store` section that names it."""

    def book(self, posted: Mapping[str, Order]) -> Book:
        """What the store holds of these orders, by event id, while no process works on it."""

    def waiting(self, by: datetime) -> Waiting:
        """What is pending, as it will be `by` then if nobody touches it."""

    def close(self) -> None:
        """Leave nothing behind."""


class SqliteBacking:
    """A file, read from a copy."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "kept.db"
        self._scratch = folder / "scratch"
        self.settings: dict[str, Any] = {"url": f"sqlite:///{self._file}"}

    def book(self, posted: Mapping[str, Order]) -> Book:
        """Every row of the file, whoever posted it."""
        return read_book(self._file, self._scratch)

    def waiting(self, by: datetime) -> Waiting:
        """Looked at twice: as rows on disk, and by opening the store at that instant and claiming them, on a copy."""
        book = read_book(self._file, self._scratch)
        book.assert_true()
        assert not [waiting for waiting in book.waiting if waiting.is_leased], "a lease outlived the process"

        async def claim_all() -> int:
            copy = self._scratch / "copy.db"
            store = await SqliteStore.open(copy, destinations=PLATFORMS, now=lambda: by)
            try:
                return sum([len(await store.claim(name, 100_000, timedelta(seconds=20))) for name in PLATFORMS])
            finally:
                await store.close()

        ready = sum(waiting.ready_at <= by.timestamp() for waiting in book.waiting)
        assert asyncio.run(claim_all()) == ready
        return Waiting(len(book.waiting), ready)

    def close(self) -> None:
        """The folder is the test's."""


class RedisBacking:
    """A server of the test's own; its records are read event by event, its ledger is what it counted."""

    def __init__(self) -> None:
        self.server = RedisServer()
        self.server.start()
        self.settings: dict[str, Any] = {"url": self.server.url}

    def book(self, posted: Mapping[str, Order]) -> Book:
        """The records of these orders, and the ledger's own counts."""
        return asyncio.run(self._book(posted))

    async def _book(self, posted: Mapping[str, Order]) -> Book:
        store = await RedisStore.open(self.server.url, destinations=PLATFORMS)
        try:
            book = Book()
            ids = list(posted)
            for start in range(0, len(ids), AT_ONCE):
                some = ids[start : start + AT_ONCE]
                for event_id, states in zip(some, await asyncio.gather(*map(store.event, some)), strict=True):
                    if states:
                        book.events[event_id] = len(states)
                    for state in states:
                        self._enter(book, posted[event_id], {n: d.outcome for n, d in state.destinations.items()})
            for name, account in (await store.ledger()).items():
                money = account.money.get(CURRENCY, {})
                for term, count in account.deliveries.items():
                    book.from_counts[name, term] = (count, money.get(term, Decimal(0)))
            return book
        finally:
            await store.close()

    @staticmethod
    def _enter(book: Book, order: Order, outcomes: Mapping[str, str]) -> None:
        for name, outcome in outcomes.items():
            state = "pending" if outcome in {"queued", "retrying"} else outcome
            book.states.setdefault(order.event_id, {})[name] = state
            count, total = book.from_rows.get((name, state), (0, Decimal(0)))
            book.from_rows[name, state] = (count + 1, total + order.value)

    def waiting(self, by: datetime) -> Waiting:
        """What the sorted sets say of that instant."""

        async def look() -> Waiting:
            store = await RedisStore.open(self.server.url, destinations=PLATFORMS, now=lambda: by)
            try:
                backlog = (await store.backlog()).values()
                return Waiting(sum(each.ready + each.later for each in backlog), sum(each.ready for each in backlog))
            finally:
                await store.close()

        return asyncio.run(look())

    def close(self) -> None:
        """End the server."""
        self.server.close()


def make_backing(engine: str, folder: Path) -> Backing:
    """A new store of the engine `sqlite` or `redis`."""
    folder.mkdir(parents=True, exist_ok=True)
    return RedisBacking() if engine == "redis" else SqliteBacking(folder)
