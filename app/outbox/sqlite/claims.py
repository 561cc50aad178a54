"""Claiming and settling inside a transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from app.errors import Outcome
from app.model import Budget, Delivery, Settlement, decode_event
from app.outbox.port import PENDING
from app.outbox.shares import Choice
from app.outbox.sqlite.accept import Warm, from_us, to_us
from app.outbox.sqlite.counts import Delta, money_of
from app.outbox.sqlite.queues import Queues, take
from app.outbox.sqlite.schema import STATE_PENDING, STATES
from app.outbox.vault import Vault

_TAKE = """
UPDATE deliveries SET
  attempts = attempts + (token IS NOT NULL),
  unsure_since = CASE WHEN token IS NULL THEN unsure_since ELSE coalesce(unsure_since, claimed_at) END,
  token = ?, claimed_at = ?, ready_at = ?
WHERE event IN (SELECT value FROM json_each(?)) AND lane = ?
"""

_EVENTS = """
SELECT e.id, e.event_id, e.accepted_at, b.body FROM events AS e JOIN bodies AS b ON b.event = e.id
WHERE e.id IN (SELECT value FROM json_each(?))
"""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One call of `claim`."""

    lane: int
    destination: str
    limit: int
    lease: timedelta
    token: bytes
    choice: Choice


def claim(
    connection: sqlite3.Connection,
    request: ClaimRequest,
    queues: Queues,
    now: int,
    warm: dict[int, Warm],
    vault: Vault,
) -> Sequence[Delivery]:
    """Take ready deliveries of one lane in the open transaction, by the shares of `app.outbox.shares`."""
    lease_until = now + request.lease // timedelta(microseconds=1)
    rows = take(connection, queues, request.lane, request.limit, now, request.choice)
    if not rows:
        return ()
    keys = orjson.dumps([row[1] for row in rows]).decode()
    connection.execute(_TAKE, (request.token, now, lease_until, keys, request.lane))
    cold = [row[1] for row in rows if row[1] not in warm]
    read = {
        event: Warm(event_id, from_us(accepted_at), vault.event(body, decode_event), {})
        for event, event_id, accepted_at, body in (
            connection.execute(_EVENTS, (orjson.dumps(cold).decode(),)) if cold else ()
        )
    }
    events = {row[1]: warm.get(row[1]) or read[row[1]] for row in rows}
    # The other lanes come to the same events.
    warm |= {event: known for event, known in read.items() if vault.is_opened(known.event)}
    claimed_until = from_us(lease_until)
    return [
        Delivery(
            key=event,
            token=request.token,
            destination=request.destination,
            event_id=events[event].event_id,
            event=events[event].event,
            accepted_at=events[event].accepted_at,
            budget=events[event].budgets.get(request.lane)
            or Budget(
                from_us(window_until),
                None if pair_until is None else from_us(pair_until),
                timedelta(microseconds=repeat_for),
            ),
            limited=bool(limited),
            attempts=attempts,
            unsure_since=None if unsure_since is None else from_us(unsure_since),
            unknown_answers=unknown_answers,
            claimed_until=claimed_until,
            is_held=queues.is_held(queue),
        )
        for (
            _,
            event,
            attempts,
            unsure_since,
            limited,
            window_until,
            pair_until,
            repeat_for,
            unknown_answers,
            queue,
        ) in rows
    ]


def settle(
    connection: sqlite3.Connection, settlements: Sequence[Settlement], lanes: dict[str, int], now: int, delta: Delta
) -> tuple[int, set[int]]:
    """End claims in the open transaction: (how many took effect, events with nothing left to deliver)."""
    groups: defaultdict[tuple[Any, ...], list[Settlement]] = defaultdict(list)
    for settlement in settlements:
        groups[
            settlement.delivery.destination,
            settlement.delivery.token,
            settlement.outcome,
            settlement.reason,
            settlement.detail,
            settlement.trace_id,
            settlement.ready_at,
            settlement.attempted,
            settlement.unsure_since,
            settlement.unknown_answers,
        ].append(settlement)
    effective = 0
    closed: list[int] = []
    for (
        destination,
        token,
        outcome,
        reason,
        detail,
        trace,
        ready_at,
        attempted,
        unsure,
        unknown,
    ), members in groups.items():
        lane = lanes[destination]
        keys = orjson.dumps([member.delivery.key for member in members]).decode()
        if outcome is Outcome.RETRYING:
            effective += connection.execute(
                "UPDATE deliveries SET token = NULL, claimed_at = NULL, ready_at = ?, reason = coalesce(?, reason), "
                "detail = coalesce(?, detail), trace_id = coalesce(?, trace_id), attempts = attempts + ?, "
                "unsure_since = coalesce(unsure_since, ?), unknown_answers = ? "
                "WHERE event IN (SELECT value FROM json_each(?)) AND lane = ? AND state = 0 AND token = ?",
                (
                    to_us(ready_at) if ready_at is not None else now,
                    reason,
                    detail,
                    trace,
                    int(attempted),
                    None if unsure is None else to_us(unsure),
                    unknown,
                    keys,
                    lane,
                    token,
                ),
            ).rowcount
            continue
        # A platform that took the event took it, whoever holds the claim by now.
        fence = "1" if outcome is Outcome.DELIVERED else "token = ?"
        arguments = [
            STATES[outcome],
            reason,
            detail,
            trace,
            now,
            int(attempted),
            None if unsure is None else to_us(unsure),
            keys,
            lane,
        ]
        for event, currency, amount, size in connection.execute(
            "UPDATE deliveries SET token = NULL, state = ?, reason = ?, detail = ?, trace_id = ?, "  # noqa: S608
            "settled_at = ?, attempts = attempts + ?, unsure_since = coalesce(unsure_since, ?) "
            "WHERE event IN (SELECT value FROM json_each(?)) AND lane = ? AND state = 0 "
            f"AND {fence} RETURNING event, currency, amount, bytes",
            arguments if outcome is Outcome.DELIVERED else [*arguments, token],
        ):
            effective += 1
            delta.move(lane, PENDING, outcome, money_of(currency, amount), size)
            if outcome is not Outcome.DEAD:
                closed.append(event)
    return effective, drop_bodies(connection, closed)


def drop_bodies(connection: sqlite3.Connection, events: Sequence[int]) -> set[int]:
    """Delete the bodies of those events that have neither a pending nor a dead delivery; returns which went."""
    if not events:
        return set()
    return {
        event
        for (event,) in connection.execute(
            "DELETE FROM bodies WHERE event IN (SELECT value FROM json_each(?)) AND NOT EXISTS "
            "(SELECT 1 FROM deliveries AS d WHERE d.event = bodies.event AND d.state IN (0, 2)) RETURNING event",
            (orjson.dumps(list(events)).decode(),),
        )
    }


def extend(
    connection: sqlite3.Connection, deliveries: Sequence[Delivery], lanes: dict[str, int], ready_at: int
) -> Sequence[Delivery]:
    """Move the ends of leases in the open transaction; returns those still held."""
    groups: defaultdict[tuple[str, bytes], list[int]] = defaultdict(list)
    for delivery in deliveries:
        groups[delivery.destination, delivery.token].append(delivery.key)
    held = {
        (destination, event)
        for (destination, token), keys in groups.items()
        for (event,) in connection.execute(
            "UPDATE deliveries SET ready_at = ? WHERE event IN (SELECT value FROM json_each(?)) AND lane = ? "
            "AND state = ? AND token = ? RETURNING event",
            (ready_at, orjson.dumps(keys).decode(), lanes[destination], STATE_PENDING, token),
        )
    }
    return [delivery for delivery in deliveries if (delivery.destination, delivery.key) in held]


def hasten(connection: sqlite3.Connection, lane: int, limit: int, now: int) -> int:
    """Make deliveries of a lane ready in the open transaction that are leased or wait; returns how many."""
    return connection.execute(
        "UPDATE deliveries SET ready_at = ?1 WHERE lane = ?2 AND state = 0 AND event IN (SELECT event FROM deliveries "
        "WHERE queue IN (SELECT id FROM queues WHERE lane = ?2) AND state = 0 AND ready_at > ?1 LIMIT ?3)",
        (now, lane, limit),
    ).rowcount
