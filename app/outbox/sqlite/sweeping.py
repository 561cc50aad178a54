"""Forgetting: whatever has had its time, in many short transactions, so that what is being accepted waits for none.

A step looks at a bounded number of rows of one table, in the order of their time, and stops at the first that is young.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import orjson

from app.outbox.sqlite import contexts, memos, pairs, proofs, tallies
from app.outbox.sqlite.accept import to_us
from app.outbox.sqlite.writer import GROUP_WEIGHT, GroupWriter

AT_ONCE = 500
"""Rows one step looks at."""
ROUNDS = 400
"""How many steps one sweep takes over a table at most: with one sweep in 30 s, three times what a gateway accepts."""
BREATH_S = 0.002
"""Between two rounds: the writer and the event loop are others' for so long, at least."""

Forget = Callable[[sqlite3.Connection], tuple[int, bool]]
"""One step over one table: how many rows went, and whether more may be due."""
Steps = tuple[Sequence[tuple[int, bool]], None]


class Sweeper:
    """For one store file."""

    def __init__(
        self,
        writer: GroupWriter,
        now: Callable[[], datetime],
        journal_retention: timedelta,
        proof_retention: timedelta,
    ) -> None:
        self._writer = writer
        self._now = now
        self._journal_retention = journal_retention
        self._proof_retention = proof_retention
        self._swept_to = 0

    async def run(self) -> int:
        """Forget what is due; returns how many events and minted ids went.

        Raises:
            StoreUnavailable: It could not be written.
        """
        gone = 0
        asked: list[Forget] = [self._events, self._minted, *self._others()]
        for _ in range(ROUNDS):
            left: list[Forget] = []
            for forget in asked:
                number, is_more = await self._writer.do(_step, forget, GROUP_WEIGHT)
                gone += number if forget in {self._events, self._minted} else 0
                if is_more:
                    left.append(forget)
            asked = left
            if not asked:
                break
            await asyncio.sleep(BREATH_S)
        return gone

    def _others(self) -> Sequence[Forget]:
        now = self._now()
        now_us = to_us(now)
        return (
            lambda connection: _bounded(contexts.forget(connection, now_us, AT_ONCE)),
            lambda connection: _bounded(memos.forget(connection, now_us, AT_ONCE)),
            lambda connection: _bounded(proofs.forget(connection, now - self._proof_retention, AT_ONCE)),
            lambda connection: pairs.forget(connection, now_us, AT_ONCE),
            lambda connection: _bounded(pairs.forget_tallies(connection, now, AT_ONCE)),
            lambda connection: tallies.forget(connection, now, AT_ONCE),
        )

    def _minted(self, connection: sqlite3.Connection) -> tuple[int, bool]:
        cursor = connection.execute(
            "DELETE FROM minted WHERE (txn, source, event_name, occurrence) IN "
            "(SELECT txn, source, event_name, occurrence FROM minted WHERE remember_until <= ? LIMIT ?)",
            (to_us(self._now()), AT_ONCE),
        )
        return _bounded(cursor.rowcount)

    def _events(self, connection: sqlite3.Connection) -> tuple[int, bool]:
        """Goes on where the last step ended: what is old and must stay (dead letters, say) is passed over once."""
        settled_by = to_us(self._now() - self._journal_retention)
        seen: list[int] = []
        for event, accepted_at in connection.execute(
            "SELECT id, accepted_at FROM events WHERE id > ? ORDER BY id LIMIT ?", (self._swept_to, AT_ONCE)
        ):
            if accepted_at > settled_by:
                break
            seen.append(event)
        old = [
            event
            for (event,) in connection.execute(
                "SELECT id FROM events AS e WHERE id IN (SELECT value FROM json_each(?)) AND remember_until <= ? "
                "AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.event = e.id "
                "AND (d.state IN (0, 2) OR d.settled_at > ?))",
                (orjson.dumps(seen).decode(), to_us(self._now()), settled_by),
            )
        ]
        if old:
            these = (orjson.dumps(old).decode(),)
            for table, column in (("deliveries", "event"), ("bodies", "event"), ("events", "id")):
                connection.execute(
                    f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",  # noqa: S608
                    these,
                )
        # Should the transaction fail, these are looked at again once the rest has been.
        is_more = len(seen) == AT_ONCE
        self._swept_to = seen[-1] if is_more else 0
        return len(old), is_more


def _step(connection: sqlite3.Connection, calls: Sequence[Forget]) -> Steps:
    return [forget(connection) for forget in calls], None


def _bounded(number: int) -> tuple[int, bool]:
    return number, number == AT_ONCE
