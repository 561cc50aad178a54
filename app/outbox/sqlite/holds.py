"""What is held back released or cancelled, inside a transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from app.errors import Outcome, Reason
from app.outbox.port import PENDING, Touched
from app.outbox.sqlite.claims import drop_bodies
from app.outbox.sqlite.counts import Delta, money_of
from app.outbox.sqlite.queues import HELD, Queues
from app.outbox.sqlite.schema import STATES

_FIND = f"""
SELECT d.event, d.lane, d.queue, d.token IS NOT NULL AND d.ready_at > ?, d.currency, d.amount, d.bytes
FROM deliveries AS d JOIN queues AS q ON q.id = d.queue
WHERE d.event IN (SELECT value FROM json_each(?)) AND d.state = 0 AND q.bulk = {HELD}
"""  # noqa: S608
_RELEASE = "UPDATE deliveries SET queue = ?, ready_at = ?, token = NULL, claimed_at = NULL WHERE event = ? AND lane = ?"
_CANCEL = "UPDATE deliveries SET state = ?, reason = ?, settled_at = ?, token = NULL WHERE event = ? AND lane = ?"


@dataclass(frozen=True, slots=True)
class Unhold:
    """One call of `release`, or of `cancel`. `events` are numbers."""

    events: Sequence[int]
    is_cancel: bool


def unhold(
    connection: sqlite3.Connection, call: Unhold, queues: Queues, names: Mapping[int, str], now: int, delta: Delta
) -> tuple[Sequence[Touched], set[int]]:
    """Do it in the open transaction: what was touched of each event, and the events with nothing left to deliver."""
    changed: defaultdict[int, set[str]] = defaultdict(set)
    in_flight: defaultdict[int, set[str]] = defaultdict(set)
    rows = connection.execute(_FIND, (now, orjson.dumps(list(call.events)).decode())).fetchall()
    for event, lane, queue, is_leased, currency, amount, size in rows:
        if is_leased:
            in_flight[event].add(names[lane])
            continue
        changed[event].add(names[lane])
        if call.is_cancel:
            connection.execute(_CANCEL, (STATES[Outcome.WITHDRAWN], Reason.CANCELLED, now, event, lane))
            delta.move(lane, PENDING, Outcome.WITHDRAWN, money_of(currency, amount), size)
        else:
            connection.execute(_RELEASE, (queues.live_twin(connection, queue), now, event, lane))
    touched = [Touched(frozenset(changed.pop(event, ())), frozenset(in_flight[event])) for event in call.events]
    return touched, drop_bodies(connection, call.events) if call.is_cancel else set()
