"""What people ask of the store: backlog, the fate of an event. Read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from app.errors import Outcome, Reason
from app.outbox.port import PENDING, Backlog, DeliveryState, EventState
from app.outbox.sqlite.accept import from_us, state_of


def backlog(connection: sqlite3.Connection, lanes: Mapping[str, int], now: int) -> Mapping[str, Backlog]:
    """What waits in each lane at the instant `now`, by destination."""
    found = {}
    connection.execute("BEGIN")  # one snapshot for all of it
    for name, lane in lanes.items():
        (pending,) = connection.execute(
            "SELECT coalesce(sum(deliveries), 0) FROM counts WHERE lane = ? AND state = ?", (lane, PENDING)
        ).fetchone()
        (ready,) = connection.execute(
            "SELECT count(*) FROM deliveries WHERE queue IN (SELECT id FROM queues WHERE lane = ?) AND state = 0 "
            "AND ready_at <= ?",
            (lane, now),
        ).fetchone()
        oldest = connection.execute(
            "SELECT accepted_at FROM events WHERE id = "
            "(SELECT min(event) FROM deliveries WHERE lane = ? AND state = 0)",
            (lane,),
        ).fetchone()
        found[name] = Backlog(ready, pending - ready, from_us(oldest[0]) if oldest else None)
    connection.execute("COMMIT")
    return found


def events(
    connection: sqlite3.Connection,
    column: Literal["event_id", "txn"],
    value: str,
    source: str | None,
    lanes: Mapping[str, int],
) -> Sequence[EventState]:
    """What became of the events whose `column` is `value`, newest first."""
    names = {number: name for name, number in lanes.items()}
    rows = connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events "  # noqa: S608
        f"WHERE {column} = ?1 AND (?2 IS NULL OR source = ?2) ORDER BY id DESC LIMIT 100",
        (value, source),
    ).fetchall()
    return [state_of_event(connection, row, names) for row in rows]


EVENT_COLUMNS = "id, source, event_name, event_id, txn, accepted_at, verdicts"


def state_of_event(connection: sqlite3.Connection, row: tuple[Any, ...], names: Mapping[int, str]) -> EventState:
    """What became of the event in a row of `EVENT_COLUMNS`."""
    event, source, event_name, event_id, txn, accepted_at, verdicts = row
    destinations: dict[str, DeliveryState] = {
        name: DeliveryState(Outcome(outcome), Reason(reason) if reason else None, detail)
        for name, (outcome, reason, detail) in (orjson.loads(verdicts) if verdicts else {}).items()
    }
    for lane, *columns in connection.execute(
        "SELECT lane, state, reason, detail, attempts, trace_id, limited, settled_at FROM deliveries WHERE event = ?",
        (event,),
    ):
        destinations[names[lane]] = state_of(*columns)
    return EventState(event_id, event_name, source, from_us(accepted_at), txn, destinations)
