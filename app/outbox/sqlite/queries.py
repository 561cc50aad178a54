"""What people ask of the store: backlog, dead letters, the fate of an event. Read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from app.errors import Outcome, Reason
from app.model import decode_event
from app.outbox.port import PENDING, Backlog, DeadFilter, DeadLetter, DeliveryState, EventState
from app.outbox.sqlite.accept import from_us, money_of, state_of, to_us


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


def dead_letters(
    connection: sqlite3.Connection, which: DeadFilter, limit: int, lanes: Mapping[str, int]
) -> Sequence[DeadLetter]:
    """Dead letters that fit, oldest first."""
    names = {number: name for name, number in lanes.items()}
    letters = []
    for row in find_dead(connection, which, limit, lanes):
        event, lane, source, event_id, event_name, currency, amount, accepted_at, *rest = row
        reason, detail, trace_id, attempts, settled_at, _ = rest
        (body,) = connection.execute("SELECT body FROM bodies WHERE event = ?", (event,)).fetchone()
        letters.append(
            DeadLetter(
                source=source,
                event_id=event_id,
                event_name=event_name,
                destination=names[lane],
                reason=Reason(reason),
                detail=detail,
                trace_id=trace_id,
                attempts=attempts,
                accepted_at=from_us(accepted_at),
                died_at=from_us(settled_at),
                event_time=decode_event(body).event_time,
                money=money_of(currency, amount),
            )
        )
    return letters


def find_dead(
    connection: sqlite3.Connection, which: DeadFilter, limit: int, lanes: Mapping[str, int]
) -> list[tuple[Any, ...]]:
    """The rows of dead letters that fit, oldest first: event, lane, source, id, name, money, …, and last the queue."""
    numbers = list(lanes.values())
    if which.destination is not None:
        numbers = [lanes[which.destination]] if which.destination in lanes else []
    return connection.execute(
        "SELECT d.event, d.lane, e.source, e.event_id, e.event_name, d.currency, d.amount, e.accepted_at, "
        "d.reason, d.detail, d.trace_id, d.attempts, d.settled_at, d.queue FROM deliveries AS d "
        "JOIN events AS e ON e.id = d.event WHERE d.state = 2 AND d.lane IN (SELECT value FROM json_each(?1)) "
        "AND (?2 IS NULL OR d.reason = ?2) AND (?3 IS NULL OR e.event_id = ?3) AND (?4 IS NULL OR e.source = ?4) "
        "AND (?5 IS NULL OR d.settled_at < ?5) ORDER BY d.settled_at, d.event LIMIT ?6",
        (
            orjson.dumps(numbers).decode(),
            which.reason,
            which.event_id,
            which.source,
            to_us(which.died_before) if which.died_before else None,
            limit,
        ),
    ).fetchall()


def events(
    connection: sqlite3.Connection,
    column: Literal["event_id", "txn"],
    value: str,
    source: str | None,
    lanes: Mapping[str, int],
) -> Sequence[EventState]:
    """What became of the events whose `column` is `value`, newest first."""
    names = {number: name for name, number in lanes.items()}
    states = []
    for event, of, event_name, event_id, txn, accepted_at, verdicts in connection.execute(
        "SELECT id, source, event_name, event_id, txn, accepted_at, verdicts FROM events "  # noqa: S608
        f"WHERE {column} = ?1 AND (?2 IS NULL OR source = ?2) ORDER BY id DESC LIMIT 100",
        (value, source),
    ).fetchall():
        destinations: dict[str, DeliveryState] = {
            name: DeliveryState(Outcome(outcome), Reason(reason) if reason else None, detail)
            for name, (outcome, reason, detail) in (orjson.loads(verdicts) if verdicts else {}).items()
        }
        for lane, *columns in connection.execute(
            "SELECT lane, state, reason, detail, attempts, trace_id, limited, settled_at FROM deliveries "
            "WHERE event = ?",
            (event,),
        ):
            destinations[names[lane]] = state_of(*columns)
        states.append(EventState(event_id, event_name, of, from_us(accepted_at), txn, destinations))
    return states
