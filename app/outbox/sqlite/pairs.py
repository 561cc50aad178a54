"""Pairs: which sides reported an event, when it is to be judged, and the counts of what became of them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import orjson

from app.dedup.pairs import CONFLICT, MOST_CONFLICTS, change
from app.dedup.port import TALLIES_KEPT, DuePair, JudgedPair, SideReport
from app.outbox.sqlite.accept import to_us
from app.outbox.sqlite.writer import GroupWriter

T = TypeVar("T")
SIDES_A_PAIR = 4
"""How many sides a pair has, or fewer: what is deleted of more than that is deleted in several steps."""

_AFTER_CONFLICTS = CONFLICT[:-1] + chr(ord(CONFLICT[-1]) + 1)


class Reader(Protocol):
    """Runs a query beside the writer."""

    def __call__(self, query: Callable[[sqlite3.Connection], T]) -> Awaitable[T]:
        """What the query returns."""
        ...


class SqlitePairs:
    """See `app.dedup.port.PairStore` for what each method promises."""

    def __init__(self, writer: GroupWriter, read: Reader, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._read = read
        self._now = now

    async def report(self, reports: Sequence[SideReport], due_at: datetime, until: datetime) -> int:
        """See `PairStore.report`."""
        return await self._writer.do(self._report, (reports, to_us(due_at), to_us(until)), len(reports))

    def _report(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[Sequence[SideReport], int, int]]
    ) -> tuple[Sequence[int], None]:
        now = to_us(self._now())
        return [report(connection, reports, due_at, until, now) for reports, due_at, until in calls], None

    async def sides(self, source: str, event_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """See `PairStore.sides`."""
        return await self._read(lambda connection: sides(connection, source, event_ids))

    async def due_pairs(self, limit: int) -> Sequence[DuePair]:
        """See `PairStore.due_pairs`."""
        return await self._read(lambda connection: due(connection, limit, to_us(self._now())))

    async def count_pairs(self, judged: Sequence[JudgedPair]) -> Sequence[bool]:
        """See `PairStore.count_pairs`."""
        return await self._writer.do(_count, judged, len(judged)) if judged else []

    async def tallies(self) -> Mapping[str, int]:
        """See `PairStore.tallies`."""
        return await self._read(tallies)


def _count(
    connection: sqlite3.Connection, calls: Sequence[Sequence[JudgedPair]]
) -> tuple[Sequence[Sequence[bool]], None]:
    return [count(connection, judged) for judged in calls], None


def report(connection: sqlite3.Connection, reports: Iterable[SideReport], due_at: int, until: int, now: int) -> int:
    """Keep the first report of each side; a judged pair that another side joins is due now."""
    fresh = 0
    for each in reports:
        connection.execute(
            "INSERT OR IGNORE INTO pairs (source, event_id, due_at, counted, until) VALUES (?, ?, ?, '{}', ?)",
            (each.source, each.event_id, due_at, until),
        )
        (pair,) = connection.execute(
            "SELECT id FROM pairs WHERE source = ? AND event_id = ?", (each.source, each.event_id)
        ).fetchone()
        if each.side.startswith(CONFLICT) and _is_full(connection, pair):
            continue
        added = connection.execute(
            "INSERT OR IGNORE INTO sightings (pair, side, body) VALUES (?, ?, ?)", (pair, each.side, each.body)
        ).rowcount
        if added:
            connection.execute("UPDATE pairs SET due_at = ? WHERE id = ? AND due_at IS NULL", (now, pair))
        fresh += added
    return fresh


def _is_full(connection: sqlite3.Connection, pair: int) -> bool:
    """Whether as many conflicts of this pair are kept as may be."""
    (kept,) = connection.execute(
        "SELECT count(*) FROM sightings WHERE pair = ? AND side >= ? AND side < ?", (pair, CONFLICT, _AFTER_CONFLICTS)
    ).fetchone()
    return bool(kept >= MOST_CONFLICTS)


def sides(connection: sqlite3.Connection, source: str, event_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
    """The sides that reported these events."""
    found: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    for event_id, side, body in connection.execute(
        "SELECT p.event_id, s.side, s.body FROM pairs AS p JOIN sightings AS s ON s.pair = p.id "
        "WHERE p.source = ? AND p.event_id IN (SELECT value FROM json_each(?))",
        (source, orjson.dumps(list(event_ids)).decode()),
    ):
        found[event_id][side] = bytes(body)
    return found


def due(connection: sqlite3.Connection, limit: int, now: int) -> Sequence[DuePair]:
    """Pairs that are due, the longest due first."""
    rows = connection.execute(
        "SELECT id, source, event_id, counted FROM pairs WHERE due_at <= ? ORDER BY due_at LIMIT ?", (now, limit)
    ).fetchall()
    kept: defaultdict[int, dict[str, bytes]] = defaultdict(dict)
    for pair, side, body in connection.execute(
        "SELECT pair, side, body FROM sightings WHERE pair IN (SELECT value FROM json_each(?))",
        (orjson.dumps([row[0] for row in rows]).decode(),),
    ):
        kept[pair][side] = bytes(body)
    return [
        DuePair(source, event_id, kept[pair], orjson.loads(counted), len(kept[pair]))
        for pair, source, event_id, counted in rows
    ]


def count(connection: sqlite3.Connection, judged: Iterable[JudgedPair]) -> Sequence[bool]:
    """Count pairs as judged, those that no side joined and nobody judged meanwhile; returns which."""
    done = []
    for each in judged:
        pair = each.pair
        taken = connection.execute(
            "UPDATE pairs SET due_at = NULL, counted = ? WHERE source = ? AND event_id = ? AND due_at IS NOT NULL "
            "AND (SELECT count(*) FROM sightings AS s WHERE s.pair = pairs.id) = ?",
            (orjson.dumps(each.counts).decode(), pair.source, pair.event_id, pair.version),
        ).rowcount
        if taken:
            connection.executemany(
                "INSERT INTO tallies VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET number = number + ?2",
                list(change(pair.counted, each.counts).items()),
            )
        done.append(taken == 1)
    return done


def tallies(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Every count that is not zero."""
    return dict(connection.execute("SELECT key, number FROM tallies WHERE number <> 0").fetchall())


def forget(connection: sqlite3.Connection, now: int, most: int) -> tuple[int, bool]:
    """Delete at most so many pairs that have had their time, with their sides; returns how many, and if more may be."""
    old = [
        pair
        for (pair,) in connection.execute("SELECT id FROM pairs WHERE until <= ? ORDER BY until LIMIT ?", (now, most))
    ]
    if not old:
        return 0, False
    these = orjson.dumps(old).decode()
    connection.execute(
        "DELETE FROM sightings WHERE (pair, side) IN (SELECT pair, side FROM sightings "
        "WHERE pair IN (SELECT value FROM json_each(?)) LIMIT ?)",
        (these, SIDES_A_PAIR * most),
    )
    gone = connection.execute(
        "DELETE FROM pairs WHERE id IN (SELECT value FROM json_each(?)) "
        "AND NOT EXISTS (SELECT 1 FROM sightings WHERE pair = pairs.id)",
        (these,),
    ).rowcount
    return gone, len(old) == most or gone < len(old)


def forget_tallies(connection: sqlite3.Connection, now: datetime, most: int) -> int:
    """Delete at most so many counts of days long past; returns how many. A key begins with its day."""
    before_day = (now - TALLIES_KEPT).date().isoformat()
    return connection.execute(
        "DELETE FROM tallies WHERE key IN (SELECT key FROM tallies WHERE key < ? LIMIT ?)", (before_day, most)
    ).rowcount
