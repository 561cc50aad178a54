"""Dead letters: found oldest first on the reading side, replayed or purged inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.errors import Outcome, Reason
from app.model import Budget, decode_event
from app.outbox.port import PENDING, DeadFilter, DeadLetter, DeadPage
from app.outbox.sqlite.accept import from_us, to_us
from app.outbox.sqlite.claims import drop_bodies
from app.outbox.sqlite.counts import Delta, money_of
from app.outbox.sqlite.queues import Queues
from app.outbox.sqlite.schema import STATE_PURGED
from app.outbox.vault import Vault

LOOK_AT = 2_000
"""How many dead letters one call looks at."""

_COLUMNS = """
SELECT d.settled_at, d.event, d.lane, d.reason, d.detail, d.trace_id, d.attempts, d.currency, d.amount, d.window_until,
  d.pair_until, d.repeat_for, d.unsure_since, d.queue, e.source, e.event_id, e.event_name, e.accepted_at
"""
_IN_ORDER = f"""{_COLUMNS}
FROM deliveries AS d INDEXED BY deliveries_dead CROSS JOIN events AS e ON e.id = d.event
WHERE d.state = 2 AND d.settled_at >= ?1 AND (d.settled_at, d.event, d.lane) > (?1, ?2, ?3)
ORDER BY d.settled_at, d.event, d.lane LIMIT ?4
"""
_OF_EVENT = f"""{_COLUMNS}
FROM events AS e CROSS JOIN deliveries AS d ON d.event = e.id
WHERE e.event_id = ?5 AND d.state = 2 AND (d.settled_at, d.event, d.lane) > (?1, ?2, ?3)
ORDER BY d.settled_at, d.event, d.lane LIMIT ?4
"""

_REPLAY = """
UPDATE deliveries SET state = 0, ready_at = ?, queue = ?, attempts = 0, unknown_answers = 0, reason = NULL,
  detail = NULL, settled_at = NULL
WHERE event = ? AND lane = ? AND state = 2 RETURNING currency, amount, bytes
"""
_PURGE = f"""
UPDATE deliveries SET state = {STATE_PURGED}, ready_at = ?, queue = ?
WHERE event = ? AND lane = ? AND state = 2 RETURNING currency, amount, bytes
"""  # noqa: S608

Place = tuple[int, int, int]
"""Instant, event, lane: the order of dead letters."""


def parse_place(after: str) -> Place:
    """The place that `after` spells.

    Raises: ValueError.
    """
    instant, event, lane = map(int, after.split("-"))
    if not all(0 <= number < 2**63 for number in (instant, event, lane)):
        raise ValueError("no place of a dead letter")
    return instant, event, lane


def find(
    connection: sqlite3.Connection,
    which: DeadFilter,
    limit: int,
    after: Place | None,
    names: Mapping[int, str],
    vault: Vault,
    *,
    is_brief: bool,
) -> DeadPage:
    """See `Outbox.dead_letters`."""
    since = 0 if which.died_since is None else to_us(which.died_since)
    start = max(after or (0, 0, 0), (since, 0, 0))
    query = _IN_ORDER if which.event_id is None else _OF_EVENT
    arguments: tuple[Any, ...] = (*start, LOOK_AT)
    if which.event_id is not None:
        arguments += (which.event_id,)
    letters: list[DeadLetter] = []
    seen = 0
    place: Place | None = None
    for row in connection.execute(query, arguments):
        seen += 1
        if which.died_before is not None and row[0] >= to_us(which.died_before):
            return DeadPage(letters, None)
        place = row[:3]
        if (letter := _letter(row, which, names)) is not None:
            letters.append(letter)
        if len(letters) == limit:
            break
    is_last = seen < LOOK_AT and len(letters) < limit
    told = letters if is_brief else [_told(connection, letter, vault) for letter in letters]
    return DeadPage(told, None if is_last or place is None else "{}-{}-{}".format(*place))


def _letter(row: tuple[Any, ...], which: DeadFilter, names: Mapping[int, str]) -> DeadLetter | None:
    """The brief letter in a row, if it fits."""
    died_at, event, lane, reason, detail, trace_id, attempts, currency, amount, *rest = row
    window_until, pair_until, repeat_for, unsure_since, queue, source, event_id, event_name, accepted_at = rest
    if (
        which.destination not in {None, names[lane]}
        or which.reason not in {None, reason}
        or which.source not in {None, source}
        or which.event_name not in {None, event_name}
    ):
        return None
    return DeadLetter(
        key=(event, lane, queue),
        source=source,
        event_id=event_id,
        event_name=event_name,
        destination=names[lane],
        reason=Reason(reason),
        detail=detail,
        trace_id=trace_id,
        attempts=attempts,
        accepted_at=from_us(accepted_at),
        died_at=from_us(died_at),
        event_time=None,
        money=money_of(currency, amount),
        budget=Budget(
            from_us(window_until),
            None if pair_until is None else from_us(pair_until),
            timedelta(microseconds=repeat_for),
        ),
        unsure_since=None if unsure_since is None else from_us(unsure_since),
    )


def _told(connection: sqlite3.Connection, letter: DeadLetter, vault: Vault) -> DeadLetter:
    """The letter with what only its event says; as it is where that was purged since, or nobody can open it."""
    row = connection.execute("SELECT body FROM bodies WHERE event = ?", (letter.key[0],)).fetchone()
    event = None if row is None else vault.readable(row[0], decode_event)
    return letter if event is None else replace(letter, event_time=event.event_time)


def end(
    connection: sqlite3.Connection, letters: Sequence[DeadLetter], now: int, delta: Delta, bulk: Queues | None
) -> tuple[int, set[int], set[str]]:
    """Replay into the bulk queues of `bulk`, or without them purge, in the open transaction.

    Returns how many ended, the events with nothing left to deliver, and the destinations with something new.
    """
    done: list[int] = []
    woken: set[str] = set()
    for letter in letters:
        event, lane, queue = letter.key
        if bulk is not None:
            queue = bulk.bulk_twin(connection, queue)
        statement = _PURGE if bulk is None else _REPLAY
        for currency, amount, size in connection.execute(statement, (now, queue, event, lane)).fetchall():
            done.append(event)
            if bulk is None:
                delta.purge(lane, money_of(currency, amount))
            else:
                delta.move(lane, Outcome.DEAD, PENDING, money_of(currency, amount), size)
                woken.add(letter.destination)
    return len(done), drop_bodies(connection, done) if bulk is None else set(), woken
