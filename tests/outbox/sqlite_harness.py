"""The SQLite engine, as the contract and the model want to open, crash and look into it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.outbox.datakeys import PLAIN, Encryption
from app.outbox.sqlite import SqliteStore
from tests.factories import DESTINATIONS, FrozenClock
from tests.outbox.support import Engine


class SqliteHarness:
    """One store file and whichever engine holds it at the moment."""

    voids_leases_on_open = True

    def __init__(
        self, path: Path, clock: FrozenClock, *, synchronous: str = "FULL", encryption: Encryption = PLAIN
    ) -> None:
        self.path = path
        self.clock = clock
        self._options = {"synchronous": synchronous, "encryption": encryption}
        self._store: SqliteStore | None = None

    async def open(self, *, destinations: Sequence[str] = DESTINATIONS, **options: Any) -> Engine:
        """An engine on the file, which no other may hold."""
        self._store = await SqliteStore.open(
            self.path,
            destinations=destinations,
            now=self.clock.now,
            **{"journal_retention": timedelta(days=7), **self._options, **options},
        )
        return self._store

    async def reopen(self, *, crash: bool = True) -> Engine:
        """Another engine on the file, after the former one crashed or was closed."""
        if crash:
            self.crash()
        else:
            await self.close()
        return await self.open()

    def crash(self) -> None:
        """End the engine as a crash would."""
        store, self._store = self._store, None
        if store is not None:
            store.abandon()

    async def close(self) -> None:
        """End the engine in good order."""
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def body_count(self) -> int:
        """How many event bodies are in the file."""
        ((count,),) = self.look("SELECT count(*) FROM bodies")
        return int(count)

    async def miscount(self, name: str, state: str, currency: str, *, deliveries: int, units: int) -> None:
        """Spoil a count of the ledger on disk."""
        self.change(
            f"UPDATE counts SET deliveries = deliveries + {deliveries}, amount = CAST(amount + {units} AS TEXT) "
            f"WHERE lane = (SELECT id FROM lanes WHERE name = '{name}') "
            f"AND state = '{state}' AND currency = '{currency}'"
        )

    async def lose(self, name: str) -> None:
        """Delete what is pending for a destination, and tell nobody."""
        self.change(f"DELETE FROM deliveries WHERE lane = (SELECT id FROM lanes WHERE name = '{name}') AND state = 0")

    def look(self, query: str) -> list[tuple[Any, ...]]:
        """What the file answers to a query from beside the engine."""
        with closing(sqlite3.connect(self.path, timeout=5)) as connection:
            return connection.execute(query).fetchall()

    def change(self, statement: str) -> None:
        """Change the file from beside the engine."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=5)) as connection:
            connection.execute(statement)
