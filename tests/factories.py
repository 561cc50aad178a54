"""Plausible values for tests: a hashed purchase, a plan for it, and a clock that stands still until told."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.errors import REASONS, Outcome, Reason
from app.model import (
    Budget,
    Form,
    HashedContent,
    HashedCustomData,
    HashedEvent,
    HashedIdentity,
    IdRequest,
    Plan,
    PlannedDelivery,
    Verdict,
)

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DESTINATIONS = ("meta", "tiktok", "pinterest", "google")
"""The destinations configured in tests; a plan has a verdict for each."""
DEDUP_WINDOW = timedelta(hours=48)
PLATFORM_WINDOW = timedelta(days=7)


class FrozenClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant it stands at, aware UTC."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move on by `by`; returns the new instant."""
        self._now += by
        return self._now

    def set(self, instant: datetime) -> datetime:
        """Move to `instant`, which must be aware; returns it in UTC."""
        self._now = instant.astimezone(UTC)
        return self._now


def digest(text: str) -> bytes:
    """The 32 bytes under which a normal form is kept."""
    return hashlib.sha256(text.encode()).digest()


def noise(size: int, seed: int = 0) -> str:
    """Text of `size` characters that no store can make smaller."""
    return base64.b85encode(random.Random(seed).randbytes(size)).decode()[:size]


def identity(**over: Any) -> HashedIdentity:
    """A shopper with strong keys: e-mail, phone, name, external id, click and browser ids."""
    fields: dict[str, Any] = {
        "digests": {
            Form.EMAIL: (digest("jane.doe@example.com"),),
            Form.PHONE_E164: (digest("+14155552671"), digest("+14155552672")),
            Form.FIRST_NAME_LETTERS: (digest("jane"),),
            Form.LAST_NAME_LETTERS: (digest("doe"),),
            Form.EXTERNAL_ID: (digest("cust-991"),),
        },
        "country": "us",
        "state": "ca",
        "client_ip_address": "203.0.113.9",
        "client_user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15",
        "fbp": "fb.1.1763632800000.1098115397",
        "fbc": "fb.1.1763632800000.IwY2Abc",
    }
    return HashedIdentity(**{**fields, **over})


def custom_data(money: tuple[str, Decimal | str] | None = ("USD", "129.90"), **over: Any) -> HashedCustomData:
    """A basket of one pair of shoes, worth `money`."""
    currency, value = money if money is not None else (None, None)
    fields: dict[str, Any] = {
        "currency": currency,
        "value": None if value is None else Decimal(value),
        "num_items": 1,
        "content_type": "product",
        "contents": (HashedContent(id="SKU-1", quantity=1, item_price=Decimal("99.90"), title="Schuh – weiß"),),
        "properties": {"coupon": "BF26"},
    }
    return HashedCustomData(**{**fields, **over})


def hashed_event(**over: Any) -> HashedEvent:
    """A purchase on the shop's website, ten minutes old at `START`."""
    fields: dict[str, Any] = {
        "source": "shop",
        "event_name": "Purchase",
        "event_time": START - timedelta(minutes=10),
        "transaction_id": "ORD-1",
        "event_source_url": "https://shop.example/thanks",
        "identity": identity(),
        "custom_data": custom_data(order_id=over.get("transaction_id", "ORD-1")),
    }
    return HashedEvent(**{**fields, **over})


def budget(start: datetime = START, **over: Any) -> Budget:
    """The time a purchase with a pixel twin has at a platform, reckoned from `start`."""
    fields: dict[str, Any] = {
        "window_until": start + PLATFORM_WINDOW,
        "pair_until": start + DEDUP_WINDOW,
        "repeat_for": DEDUP_WINDOW,
    }
    return Budget(**{**fields, **over})


def derived_id(event_name: str, transaction: str, occurrence: str | None = None) -> str:
    """The readable id of a transaction: `purchase_ORD-1`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", event_name).lower()
    return "_".join(part for part in (snake, transaction, occurrence) if part is not None)


def verdict(reason: Reason, detail: str | None = None) -> Verdict:
    """The verdict on an event that does not go to a destination."""
    return Verdict(Outcome.DENIED if reason in REASONS[Outcome.DENIED] else Outcome.SKIPPED, reason, detail)


def plan(
    transaction: str | None = "ORD-1",
    destinations: Sequence[str] = ("meta", "tiktok"),
    *,
    event_name: str = "Purchase",
    source: str = "shop",
    occurrence: str | None = None,
    asked: str | None = None,
    derived: str | None = None,
    refused: Mapping[str, Verdict | Reason] | None = None,
    limited: Collection[str] = (),
    money: tuple[str, Decimal | str] | None = ("USD", "129.90"),
    accepted_at: datetime = START,
    remember_for: timedelta = DEDUP_WINDOW,
    send_conflicts: bool = False,
    properties: Mapping[str, Any] | None = None,
    event: HashedEvent | None = None,
    budget_of: Budget | None = None,
    held_until: datetime | None = None,
) -> Plan:
    """The plan for one event: queued for `destinations`, refused as `refused` says, elsewhere not routed.

    `transaction` None is an event without a key; `held_until` holds it back for every destination.
    `asked` is the caller's own event_id, None when it has none.
    """
    if event is None:
        data = custom_data(money, order_id=transaction)
        if properties is not None:
            data = custom_data(money, order_id=transaction, properties=dict(properties))
        event = hashed_event(
            source=source,
            event_name=event_name,
            event_time=accepted_at - timedelta(minutes=10),
            transaction_id=transaction,
            occurrence=occurrence,
            custom_data=data,
        )
    if derived is None:
        unkeyed = f"{event_name.lower()}_{digest(source + event_name).hex()[:16]}"
        derived = unkeyed if transaction is None else derived_id(event_name, transaction, occurrence)
    deliveries = tuple(
        PlannedDelivery(name, budget_of or budget(accepted_at), limited=name in limited, held_until=held_until)
        for name in destinations
    )
    verdicts = {name: Verdict(Outcome.SKIPPED, Reason.NOT_ROUTED) for name in DESTINATIONS}
    for name, why in (refused or {}).items():
        verdicts[name] = verdict(why) if isinstance(why, Reason) else why
    for name in destinations:
        verdicts[name] = Verdict(Outcome.QUEUED, limited=name in limited, held_until=held_until)
    return Plan(
        event=event,
        id_request=IdRequest(
            source=source,
            event_name=event_name,
            transaction=transaction,
            occurrence=occurrence,
            asked=asked,
            derived=derived,
            remember_until=accepted_at + remember_for,
            send_conflicts=send_conflicts,
        ),
        deliveries=deliveries,
        verdicts=verdicts,
        accepted_at=accepted_at,
    )
