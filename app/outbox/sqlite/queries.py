"""What people ask of the store: backlog, the fate of an event. Read only."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import orjson

from app.errors import Outcome, Reason
from app.outbox.port import PENDING, Backlog, DeliveryState, EventPage, EventState
from app.outbox.sqlite.accept import STATE_COLUMNS, from_us, state_of
from app.outbox.sqlite.queues import HELD


def backlog(connection: sqlite3.Connection, lanes: Mapping[str, int], now: int) -> Mapping[str, Backlog]:
    """What waits in each lane at the instant `now`, by destination."""
    found = {}
    connection.execute("BEGIN")  # one snapshot for all of it
    for name, lane in lanes.items():
        (pending,) = connection.execute(
            "SELECT coalesce(sum(deliveries), 0) FROM counts WHERE lane = ? AND state = ?", (lane, PENDING)
        ).fetchone()
        (ready,) = connection.execute(
            "SELECT count(*) FROM deliveries WHERE queue IN (SELECT id FROM queues WHERE lane = ? AND bulk != ?) "
            "AND state = 0 AND ready_at <= ?",
            (lane, HELD, now),
        ).fetchone()
        (held,) = connection.execute(
            "SELECT count(*) FROM deliveries WHERE queue IN (SELECT id FROM queues WHERE lane = ? AND bulk = ?) "
            "AND state = 0",
            (lane, HELD),
        ).fetchone()
        oldest = _oldest(connection, lane, is_some_held=held > 0) if pending > held else None
        found[name] = Backlog(ready, pending - held - ready, oldest, held)
    connection.execute("COMMIT")
    return found


EVENT_COLUMNS = "id, source, event_name, event_id, txn, accepted_at, verdicts"
MOST = 100
"""How many events of one id, or of one transaction, are told."""
SKEW_US = 60_000_000
"""How far events may stand out of the order they were accepted in."""


def _oldest(connection: sqlite3.Connection, lane: int, *, is_some_held: bool) -> datetime | None:
    """When the oldest of a lane that is not held back was accepted. What is held and older is passed over."""
    not_held = f"AND queue NOT IN (SELECT id FROM queues WHERE bulk = {HELD})" if is_some_held else ""  # noqa: S608
    row = connection.execute(
        "SELECT accepted_at FROM events WHERE id = (SELECT event FROM deliveries INDEXED BY deliveries_waiting "  # noqa: S608
        f"WHERE lane = ? AND state = 0 {not_held} ORDER BY event LIMIT 1)",
        (lane,),
    ).fetchone()
    return from_us(row[0]) if row else None


def events(
    connection: sqlite3.Connection,
    column: Literal["event_id", "txn"],
    value: str,
    source: str | None,
    lanes: Mapping[str, int],
) -> Sequence[EventState]:
    """What became of the events whose `column` is `value`, newest first."""
    rows = connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events "  # noqa: S608
        f"WHERE {column} = ?1 AND (?2 IS NULL OR source = ?2) ORDER BY id DESC LIMIT {MOST}",
        (value, source),
    ).fetchall()
    return _states(connection, rows, _names(lanes))


def transactions(
    connection: sqlite3.Connection, source: str, wanted: Sequence[str], lanes: Mapping[str, int]
) -> Sequence[Sequence[EventState]]:
    """What became of the events of each of these transactions of one source, each newest first."""
    rows = connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM "  # noqa: S608
        "(SELECT *, row_number() OVER (PARTITION BY txn ORDER BY id DESC) AS place FROM events "
        f"WHERE txn IN (SELECT value FROM json_each(?)) AND source = ?) WHERE place <= {MOST} ORDER BY id DESC",
        (orjson.dumps(list(set(wanted))).decode(), source),
    ).fetchall()
    found: defaultdict[str | None, list[EventState]] = defaultdict(list)
    for state in _states(connection, rows, _names(lanes)):
        found[state.transaction].append(state)
    return [found[transaction] for transaction in wanted]


def accepted(
    connection: sqlite3.Connection,
    source: str,
    since: int,
    before: int,
    limit: int,
    after: int | None,
    lanes: Mapping[str, int],
) -> EventPage:
    """Events of one source that were accepted within these instants; numbers follow acceptance but for a little."""
    begin = _first_since(connection, since - SKEW_US) - 1 if after is None else after
    looked_at = connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
        (begin, limit),
    ).fetchall()
    rows = [row for row in looked_at if row[1] == source and row[4] is not None and since <= row[5] < before]
    is_last = len(looked_at) < limit or looked_at[-1][5] >= before + SKEW_US
    return EventPage(_states(connection, rows, _names(lanes)), None if is_last else str(looked_at[-1][0]))


def _first_since(connection: sqlite3.Connection, since: int) -> int:
    """The number of about the first event accepted at `since` or later, found by halving."""
    low, high = connection.execute("SELECT coalesce(min(id), 1), coalesce(max(id), 0) + 1 FROM events").fetchone()
    while low < high:
        middle = (low + high) // 2
        number, at = connection.execute(
            "SELECT id, accepted_at FROM events WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        ).fetchone() or (high, since)
        if at < since:
            low = number + 1
        else:
            high = middle
    return int(low)


def state_of_event(connection: sqlite3.Connection, row: tuple[Any, ...], names: Mapping[int, str]) -> EventState:
    """What became of the event in a row of `EVENT_COLUMNS`."""
    (state,) = _states(connection, [row], names)
    return state


def _names(lanes: Mapping[str, int]) -> Mapping[int, str]:
    return {number: name for name, number in lanes.items()}


def _states(
    connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], names: Mapping[int, str]
) -> Sequence[EventState]:
    """What became of the events in these rows of `EVENT_COLUMNS`, in order."""
    told: dict[int, dict[str, DeliveryState]] = {
        event: {
            name: DeliveryState(Outcome(outcome), Reason(reason) if reason else None, detail)
            for name, (outcome, reason, detail) in (orjson.loads(verdicts) if verdicts else {}).items()
        }
        for event, *_, verdicts in rows
    }
    for event, lane, currency, amount, *columns in connection.execute(
        f"SELECT event, lane, currency, amount, {STATE_COLUMNS} FROM deliveries "  # noqa: S608
        "WHERE event IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(told)).decode(),),
    ):
        money = (currency, Decimal(amount)) if currency is not None else None
        told[event][names[lane]] = replace(state_of(*columns), money=money)
    return [
        EventState(event_id, event_name, of, from_us(accepted_at), txn, told[event], event)
        for event, of, event_name, event_id, txn, accepted_at, _ in rows
    ]
