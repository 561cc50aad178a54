"""What is kept of persons: every row of `events` looked at in the order of acceptance, deleted inside a transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson

from app.errors import Outcome, Reason
from app.model import HashedEvent
from app.outbox.persons import Trace, TracePage, Wanted
from app.outbox.port import PENDING
from app.outbox.sqlite.accept import to_us
from app.outbox.sqlite.claims import drop_bodies
from app.outbox.sqlite.counts import Counts, Delta, money_of
from app.outbox.sqlite.pairs import Reader
from app.outbox.sqlite.queries import EVENT_COLUMNS, state_of_event
from app.outbox.sqlite.schema import STATES, erased_id
from app.outbox.sqlite.writer import GROUP_WEIGHT, GroupWriter

LOOK_AT = 10_000
"""How many rows one step looks at: some ten milliseconds beside the writer."""
FOUND = 200
"""After how many events found it ends sooner."""
AT_ONCE = 100
"""Events ended or deleted in one transaction."""
T = TypeVar("T")
_ERASED = STATES[Outcome.ERASED]
_HAS_BODY = "EXISTS (SELECT 1 FROM bodies AS b WHERE b.event = events.id)"
_STOPPABLE = {
    Outcome.QUEUED: "state = 0 AND (token IS NULL OR ready_at <= ?3)",
    Outcome.DEAD: "state = 2",
}


class SqlitePersons:
    """See `app.outbox.persons.PersonStore` for what each method promises."""

    def __init__(
        self,
        writer: GroupWriter,
        read: Reader,
        counts: Counts,
        lanes: dict[str, int],
        now: Callable[[], datetime],
        decode: Callable[[bytes], HashedEvent | None],
        gone: Callable[[Sequence[int]], None],
        *,
        has_erased: bool,
    ) -> None:
        """`gone` is told which events have no body any more, once that is durable."""
        self._writer = writer
        self._read = read
        self._counts = counts
        self._lanes = lanes
        self._now = now
        self._decode = decode
        self._gone = gone
        self.has_erased = has_erased
        """Whether a digest may stand for the id of an event (`schema.erased_id`)."""

    async def find(self, wanted: Wanted, after: str | None) -> TracePage:
        """See `PersonStore.find`."""
        start = 0 if after is None else int(after)
        if not 0 <= start < 2**63:
            raise ValueError("no place of an event")
        now = to_us(self._now())
        return await self._read(lambda connection: self._find(connection, wanted, start, now))

    def _find(self, connection: sqlite3.Connection, wanted: Wanted, start: int, now: int) -> TracePage:
        connection.execute("BEGIN")  # one snapshot for all of it
        try:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
            end = min(start + LOOK_AT, last)
            has_mark = "".join(f" OR instr(persons, ?{number})" for number in range(4, 4 + len(wanted.marks)))
            rows = connection.execute(
                f"SELECT {EVENT_COLUMNS}, persons FROM events WHERE id > ?1 AND id <= ?2 AND source = ?3 "  # noqa: S608
                f"AND ((persons IS NULL AND {_HAS_BODY}){has_mark}) ORDER BY id LIMIT {FOUND}",
                (start, end, wanted.source, *wanted.marks),
            ).fetchall()
            if len(rows) == FOUND:
                end = rows[-1][0]
            traces = [self._trace(connection, row[:-1], now) for row in rows]
        finally:
            connection.execute("COMMIT")
        theirs = [
            trace
            for trace, row in zip(traces, rows, strict=True)
            if row[-1] is not None or (trace.event is not None and wanted.fits(trace.event))
        ]
        return TracePage(theirs, str(end) if end < last else None, max(0, end - start))

    def _trace(self, connection: sqlite3.Connection, row: tuple[Any, ...], now: int) -> Trace:
        names = {number: name for name, number in self._lanes.items()}
        body = connection.execute("SELECT body FROM bodies WHERE event = ?", (row[0],)).fetchone()
        claimed = connection.execute(
            "SELECT lane FROM deliveries WHERE event = ? AND state = 0 AND token IS NOT NULL AND ready_at > ?",
            (row[0], now),
        )
        return Trace(
            row[0],
            state_of_event(connection, row, names),
            None if body is None else self._decode(body[0]),
            frozenset(names[lane] for (lane,) in claimed),
        )

    async def end(self, traces: Sequence[Trace], marks: Collection[bytes]) -> Counter[tuple[str, Outcome]]:
        """See `PersonStore.end`."""
        ended: Counter[tuple[str, Outcome]] = Counter()
        for some in _some([trace.key for trace in traces]):
            ended += await self._writer.do(self._end, (some, b"".join(marks)), GROUP_WEIGHT)
        return ended

    def _end(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[Sequence[int], bytes]]
    ) -> tuple[Sequence[Counter[tuple[str, Outcome]]], Callable[[], None]]:
        delta, now = Delta(), to_us(self._now())
        names = {number: name for name, number in self._lanes.items()}
        answers: list[Counter[tuple[str, Outcome]]] = []
        gone: list[int] = []
        for events, marks in calls:
            ended: Counter[tuple[str, Outcome]] = Counter()
            these = orjson.dumps(list(events)).decode()
            connection.execute(
                "UPDATE events SET persons = ? WHERE id IN (SELECT value FROM json_each(?)) AND persons IS NULL",
                (marks, these),
            )
            for was, condition in _STOPPABLE.items():
                for lane, currency, amount, size in connection.execute(
                    f"UPDATE deliveries SET token = NULL, state = {_ERASED}, reason = ?1, detail = NULL, "  # noqa: S608
                    "trace_id = NULL, settled_at = ?3 WHERE event IN (SELECT value FROM json_each(?2)) "
                    f"AND {condition} RETURNING lane, currency, amount, bytes",
                    (Reason.ERASURE_REQUEST, these, now),
                ).fetchall():
                    ended[names[lane], was] += 1
                    before = PENDING if was is Outcome.QUEUED else Outcome.DEAD
                    delta.move(lane, before, Outcome.ERASED, money_of(currency, amount), size)
            gone += drop_bodies(connection, events)
            answers.append(ended)
        self._counts.write(connection, delta)
        return answers, lambda: self._gone(gone)

    async def forget(self, traces: Sequence[Trace], settled_by: datetime) -> Counter[str]:
        """See `PersonStore.forget`."""
        forgotten: Counter[str] = Counter()
        self.has_erased = True  # before the digests are there
        for some in _some([trace.key for trace in traces]):
            forgotten += await self._writer.do(self._forget, (some, to_us(settled_by)), GROUP_WEIGHT)
        return forgotten

    def _forget(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[Sequence[int], int]]
    ) -> tuple[Sequence[Counter[str]], None]:
        now = to_us(self._now())
        return [forget(connection, events, settled_by, now) for events, settled_by in calls], None

    async def forget_proofs(self, traces: Sequence[Trace]) -> int:
        """See `PersonStore.forget_proofs`."""
        gone = 0
        for some in _some([(each.state.source, each.state.event_name, each.state.event_id) for each in traces]):
            gone += await self._writer.do(_forget_proofs, some, GROUP_WEIGHT)
        return gone


def forget(connection: sqlite3.Connection, events: Sequence[int], settled_by: int, now: int) -> Counter[str]:
    """Delete what is kept of those events that have come to rest by then, in the open transaction."""
    gone: Counter[str] = Counter()
    for event, source, event_name, event_id, txn, remember_until in connection.execute(
        "SELECT id, source, event_name, event_id, txn, remember_until FROM events AS e "
        "WHERE id IN (SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM deliveries AS d "
        "WHERE d.event = e.id AND (d.state IN (0, 2) OR (d.state = 1 AND d.settled_at > ?)))",
        (orjson.dumps(list(events)).decode(), settled_by),
    ).fetchall():
        gone["events"] += 1
        own = (source, event_id)
        connection.execute(
            "DELETE FROM sightings WHERE pair IN (SELECT id FROM pairs WHERE source = ? AND event_id = ?)", own
        )
        gone["pairs"] += connection.execute("DELETE FROM pairs WHERE source = ? AND event_id = ?", own).rowcount
        for table, name in (("minted", "event_ids"), ("contexts", "contexts")):
            statement = f"DELETE FROM {table} WHERE source = ? AND txn = ?"  # noqa: S608
            gone[name] += connection.execute(statement, (source, txn)).rowcount
        if remember_until > now:
            connection.execute(
                "UPDATE events SET event_id = ?, txn = NULL, occurrence = NULL, verdicts = NULL, persons = x'' "
                "WHERE id = ?",
                (erased_id(source, event_name, event_id), event),
            )
            connection.execute(
                "UPDATE deliveries SET currency = NULL, amount = NULL, detail = NULL, trace_id = NULL WHERE event = ?",
                (event,),
            )
        else:
            connection.execute("DELETE FROM deliveries WHERE event = ?", (event,))
            connection.execute("DELETE FROM events WHERE id = ?", (event,))
        connection.execute("DELETE FROM bodies WHERE event = ?", (event,))
    return gone


def _forget_proofs(
    connection: sqlite3.Connection, calls: Sequence[Sequence[tuple[str, str, str]]]
) -> tuple[Sequence[int], None]:
    return [
        sum(
            connection.execute(
                "DELETE FROM proofs WHERE source = ? AND event_name = ? AND event_id = ?", event
            ).rowcount
            for event in events
        )
        for events in calls
    ], None


def _some(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]
