"""What the requests and the settlements of a batch leave in the metrics and in the log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from app.delivery.verdicts import Whole, detail_of, word_of
from app.errors import Outcome
from app.logs import wide_event
from app.metrics import Metrics
from app.model import HttpCall, HttpReply, NoReply, Settlement

log = logging.getLogger("convey.delivery")


def observe_attempt(
    call: HttpCall,
    reply: HttpReply | NoReply | None,
    verdict: Whole,
    seconds: float,
    destination: str,
    metrics: Metrics,
) -> None:
    """Count one request and tell of it; `seconds` is how long it took."""
    word = word_of(verdict)
    metrics.attempts.labels(destination, word).inc()
    metrics.attempt_duration.labels(destination, word).observe(seconds)
    metrics.batch_items.labels(destination).observe(len(call.deliveries))
    wide_event(
        log,
        "delivery.attempted",
        destination=destination,
        verdict=word,
        code=reply.status if isinstance(reply, HttpReply) else None,
        detail=detail_of(verdict),
        items=len(call.deliveries),
        body_bytes=len(call.body),
        duration_ms=round(seconds * 1000, 1),
        event_ids=[delivery.event_id for delivery in call.deliveries[:10]],
    )


def took_effect(settlements: Sequence[Settlement], number: int) -> Sequence[Settlement]:
    """The `number` settlements that took effect. The store tells no more than how many.

    Where that is some of them, those delivered are taken first, as a late one counts even when its claim is stale: the
    number is then right, how it splits into outcomes a guess.
    """
    if number >= len(settlements):
        return settlements
    return sorted(settlements, key=lambda settlement: settlement.outcome is not Outcome.DELIVERED)[:number]


def count_settled(settlements: Sequence[Settlement], destination: str, metrics: Metrics, now: datetime) -> None:
    """Count what was ended by these settlements at `now`; what is tried again is no end."""
    settled = Counter(
        (settlement.outcome, settlement.reason or "")
        for settlement in settlements
        if settlement.outcome is not Outcome.RETRYING
    )
    for (outcome, reason), number in settled.items():
        metrics.deliveries.labels(destination, outcome, reason).inc(number)
    latency = metrics.delivery_latency.labels(destination)
    for settlement in settlements:
        if settlement.outcome is Outcome.DELIVERED:
            latency.observe((now - settlement.delivery.accepted_at).total_seconds())
