"""Proofs of consent decisions: one row per accepted event, written with it, in the order of acceptance.

Rows are in the order of time, so that the oldest are found without an index of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.outbox.proofs import ProofPage
from app.proof import KeptProof, decode_proof

if TYPE_CHECKING:
    from app.outbox.sqlite.pairs import Reader

PAGE = 500
CLOCK_LEEWAY = timedelta(minutes=5)
"""How far from the order of time a row may stand: a process plans before its turn at the writer comes."""
Row = tuple[str, str, str, bytes]
"""Source, event name, event id, encoded proof."""


class SqliteProofs:
    """See `app.outbox.proofs.ProofStore` for what each method promises."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    async def of(self, event_id: str, source: str, since: datetime) -> Sequence[KeptProof]:
        """See `ProofStore.of`."""
        kept = await self._read(lambda connection: _of(connection, event_id, source))
        return [each for each in kept if each.proof.decided_at >= since]

    async def page(self, since: datetime, until: datetime, after: str | None, source: str | None) -> ProofPage:
        """See `ProofStore.page`."""
        rows = await self._read(lambda connection: _page(connection, after, since))
        within = [
            kept
            for _, kept in rows
            if since <= kept.proof.decided_at < until and kept.source == (source or kept.source)
        ]
        # A row of the time asked for may stand behind one of a later instant.
        is_over = len(rows) < PAGE or rows[-1][1].proof.decided_at >= until + CLOCK_LEEWAY
        return ProofPage(within, None if is_over else str(rows[-1][0]))


def _of(connection: sqlite3.Connection, event_id: str, source: str) -> list[KeptProof]:
    return [
        _kept(row)
        for row in connection.execute(
            "SELECT id, source, event_name, event_id, body FROM proofs "
            "WHERE event_id = ? AND source = ? ORDER BY id DESC LIMIT 100",
            (event_id, source),
        )
    ]


def _page(connection: sqlite3.Connection, after: str | None, since: datetime) -> list[tuple[int, KeptProof]]:
    start = _before(connection, since) if after is None else int(after)
    rows = connection.execute(
        "SELECT id, source, event_name, event_id, body FROM proofs WHERE id > ? ORDER BY id LIMIT ?", (start, PAGE)
    )
    return [(row[0], _kept(row)) for row in rows]


def _before(connection: sqlite3.Connection, since: datetime) -> int:
    """An id before which nothing was decided since then, found by halving: ids are in the order of time."""
    low, high = connection.execute("SELECT coalesce(min(id), 1) - 1, coalesce(max(id), 0) FROM proofs").fetchone()
    while high - low > PAGE:
        middle = (low + high) // 2
        row = connection.execute("SELECT id, body FROM proofs WHERE id >= ? ORDER BY id LIMIT 1", (middle,)).fetchone()
        if decode_proof(row[1]).decided_at < since - CLOCK_LEEWAY:
            low = middle
        else:
            high = middle
    return int(low)


def _kept(row: tuple[int, str, str, str, bytes]) -> KeptProof:
    _, source, event_name, event_id, body = row
    return KeptProof(source, event_name, event_id, decode_proof(body))


def keep(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write proofs in the open transaction."""
    connection.executemany("INSERT INTO proofs (source, event_name, event_id, body) VALUES (?, ?, ?, ?)", rows)


def forget(connection: sqlite3.Connection, before: datetime, most: int) -> int:
    """Delete the oldest proofs that were decided before then, at most so many; returns how many."""
    old = 0
    for number, body in connection.execute("SELECT id, body FROM proofs ORDER BY id LIMIT ?", (most,)):
        if decode_proof(body).decided_at >= before:
            break
        old = number
    return connection.execute("DELETE FROM proofs WHERE id <= ?", (old,)).rowcount if old else 0
