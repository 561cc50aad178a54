"""What a batch does for the time after its deliveries: hold back what adjusts, and remember what is asked about later.

The decisions are pure functions of values; the reading and keeping are two IO steps of the batch, before its requests
are built and before its results are settled. What is remembered is kept before the settlement: after a crash between
the two a question may be asked twice, but none is forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.destinations.base import Adjustment, Destination, Precedent
from app.errors import Outcome, Reason
from app.model import Delivered, Delivery, HashedEvent, Result, Settlement
from app.outbox import aftermath
from app.outbox.port import EventState, Memo

PENDING = frozenset({Outcome.QUEUED, Outcome.RETRYING})
FIRST_LOOK = timedelta(seconds=2)
LONGEST_LOOK = timedelta(minutes=5)


def adjusting(deliveries: Sequence[Delivery], adjustment: Adjustment[Any] | None) -> list[Delivery]:
    """Those of a batch that adjust an earlier conversion."""
    if adjustment is None:
        return []
    return [delivery for delivery in deliveries if delivery.event.event_name == adjustment.event_name]


def judge(
    delivery: Delivery,
    adjustment: Adjustment[Any],
    siblings: Sequence[EventState],
    precedent: Precedent | None,
    now: datetime,
) -> Settlement | HashedEvent:
    """What becomes of a delivery that adjusts: the event to send, or its settlement.

    `siblings` are the events of its transaction, as the journal has them, read before `precedent`. It waits while its
    conversion is pending here, or another adjustment of it that was accepted earlier: one after the other, so that each
    knows what the ones before took off.
    """
    event = delivery.event
    for state in siblings:
        at = state.destinations.get(delivery.destination)
        is_ahead = state.event_name == adjustment.of or (
            state.event_name == adjustment.event_name
            and (state.accepted_at, state.event_id) < (delivery.accepted_at, delivery.event_id)
        )
        if at is not None and at.outcome in PENDING and is_ahead and state.event_id != delivery.event_id:
            return _wait(delivery, state.event_name, now)
    if precedent is None:
        return _dead(delivery, f"no {adjustment.of} of this transaction was delivered here")
    applied = adjustment.apply(event, delivery.event_id, precedent)
    return applied if isinstance(applied, HashedEvent) else _dead(delivery, applied)


def _wait(delivery: Delivery, for_what: str, now: datetime) -> Settlement:
    """Puts a delivery back that waits for another: the longer it waits, the rarer it is looked at."""
    wait = min(max(now - delivery.accepted_at, FIRST_LOOK), LONGEST_LOOK)
    return Settlement(
        delivery,
        Outcome.RETRYING,
        detail=f"waits until its {for_what} is delivered",
        ready_at=min(now + wait, max(now, delivery.budget.window_until)),
        attempted=False,
        unknown_answers=delivery.unknown_answers,
    )


def _dead(delivery: Delivery, why: str) -> Settlement:
    return Settlement(delivery, Outcome.DEAD, Reason.PURCHASE_NOT_DELIVERED, why, attempted=False)


def adjusted(delivery: Delivery, event: HashedEvent) -> Delivery:
    """The delivery with the event as it is to be sent."""
    return dataclasses.replace(delivery, event=event)


def memos(
    destination: Destination[Any],
    settings: Any,
    deliveries: Sequence[Delivery],
    results: Sequence[Result],
    precedents: Mapping[str, Precedent],
    now: datetime,
) -> list[Memo]:
    """What is to be remembered of one request that was answered: in the order of its events.

    `precedents` are those of the adjusting deliveries, by event_id, with what they took off.
    """
    name = deliveries[0].destination
    kept: list[Memo] = []
    if destination.adjustment is not None:
        kept += _adjustable(destination.adjustment, settings, name, deliveries, results, precedents, now)
    later = destination.later
    if later is None or deliveries[0].event.is_test:
        return kept
    trace_ids = {result.trace_id for result in results if isinstance(result, Delivered)}
    if len(trace_ids) != 1:
        return kept
    (trace_id,) = trace_ids
    if trace_id is not None and all(isinstance(result, Delivered) for result in results):
        events = [
            aftermath.asked_of(delivery, is_adjustable=_is_adjustable(delivery, destination.adjustment, settings))
            for delivery in deliveries
        ]
        asked = aftermath.Inquiry(now, 0, tuple(events))
        due_at = now + later.first_after(settings)
        until = now + later.give_up_after * 2
        kept.append(Memo(aftermath.ask_book(name), trace_id, aftermath.encode_inquiry(asked), until, due_at))
    return kept


def _is_adjustable(delivery: Delivery, adjustment: Adjustment[Any] | None, settings: Any) -> bool:
    """Whether this delivery makes a conversion that can be adjusted."""
    event = delivery.event
    return adjustment is not None and event.event_name == adjustment.of and adjustment.is_adjustable(event, settings)


def _adjustable(
    adjustment: Adjustment[Any],
    settings: Any,
    name: str,
    deliveries: Sequence[Delivery],
    results: Sequence[Result],
    precedents: Mapping[str, Precedent],
    now: datetime,
) -> list[Memo]:
    until = now + adjustment.memory(settings)
    if until <= now:
        return []
    kept = []
    for delivery, result in zip(deliveries, results, strict=True):
        event = delivery.event
        transaction = event.transaction
        if not isinstance(result, Delivered) or transaction is None or event.is_test:
            continue
        if _is_adjustable(delivery, adjustment, settings):
            precedent = Precedent(event.money)
        elif event.event_name == adjustment.event_name and delivery.event_id in precedents:
            precedent = precedents[delivery.event_id]
        else:
            continue
        memo_name = aftermath.adjust_name(event.source, transaction)
        kept.append(Memo(aftermath.adjust_book(name), memo_name, aftermath.encode_precedent(precedent), until))
    return kept
