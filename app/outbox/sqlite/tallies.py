"""Tallies: one row per book, day and key, forgotten by the day."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from app.outbox.sqlite.accept import from_us, to_us
from app.outbox.sqlite.writer import GroupWriter
from app.outbox.tallies import KEPT_FOR, DayTallies, Tally

if TYPE_CHECKING:
    from app.outbox.sqlite.pairs import Reader

_ADD = (
    "INSERT INTO day_tallies VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (book, day, key) DO UPDATE SET "
    "number = number + excluded.number, first_at = min(first_at, excluded.first_at), "
    "last_at = max(last_at, excluded.last_at)"
)


class SqliteTallies:
    """See `app.outbox.tallies.TallyStore` for what each method promises."""

    def __init__(self, writer: GroupWriter, read: Reader) -> None:
        self._writer = writer
        self._read = read

    async def add(self, book: str, tallies: DayTallies) -> None:
        """See `TallyStore.add`."""
        rows = [
            (book, day.isoformat(), key, tally.number, to_us(tally.first_at), to_us(tally.last_at))
            for day, counts in tallies.items()
            for key, tally in counts.items()
        ]
        if rows:
            await self._writer.do(_add, rows, len(rows))

    async def read(self, book: str, since: date) -> DayTallies:
        """See `TallyStore.read`."""
        rows = await self._read(
            lambda connection: connection.execute(
                "SELECT day, key, number, first_at, last_at FROM day_tallies WHERE book = ? AND day >= ?",
                (book, since.isoformat()),
            ).fetchall()
        )
        found: defaultdict[date, dict[str, Tally]] = defaultdict(dict)
        for day, key, number, first_at, last_at in rows:
            found[date.fromisoformat(day)][key] = Tally(number, from_us(first_at), from_us(last_at))
        return found


def _add(
    connection: sqlite3.Connection, calls: Sequence[Sequence[tuple[str, str, str, int, int, int]]]
) -> tuple[Sequence[None], None]:
    for rows in calls:
        connection.executemany(_ADD, rows)
    return [None] * len(calls), None


def forget(connection: sqlite3.Connection, now: datetime, most: int) -> tuple[int, bool]:
    """Delete at most so many tallies of each book past its time; returns how many, and whether more may be."""
    gone, is_more = 0, False
    for book, kept_for in KEPT_FOR.items():
        number = connection.execute(
            "DELETE FROM day_tallies WHERE (book, day, key) IN "
            "(SELECT book, day, key FROM day_tallies WHERE book = ? AND day < ? LIMIT ?)",
            (book, (now - kept_for).date().isoformat(), most),
        ).rowcount
        gone, is_more = gone + number, is_more or number == most
    return gone, is_more
