"""Refunds: the conversion of the purchase is sent again with the value that is left of it.

Source: Data Manager API guide "Conversion adjustments", read 2026-11-20 (documented: a second arrival under the same
transactionId overwrites the value, one without a match is a new conversion). That a value of 0 retracts is documented
for the Google Ads API and inferred here.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from app.destinations.base import Adjustment, Precedent
from app.destinations.google.settings import REFUND, REFUNDED, GoogleSettings
from app.model import HashedEvent


def apply(event: HashedEvent, event_id: str, precedent: Precedent) -> HashedEvent | str:
    """The refund with the purchase's remaining value; why not, where that cannot be told.

    Refunds of the same purchase add up; one without a value takes all of it.
    """
    money, back = precedent.money, event.custom_data.value
    if money is None:
        if back is not None:
            return "the purchase was delivered without a value, so what remains of it cannot be told"
        data = msgspec.structs.replace(event.custom_data, currency=None, value=None)
        return msgspec.structs.replace(event, custom_data=data)
    currency, value = money
    if back is not None and event.custom_data.currency not in (None, currency):
        return "the refund is in another currency than its purchase"
    taken = {**precedent.taken_off, event_id: back}
    left = (
        Decimal(0) if None in taken.values() else max(Decimal(0), value - sum(amount or 0 for amount in taken.values()))
    )
    data = msgspec.structs.replace(event.custom_data, currency=currency, value=left)
    return msgspec.structs.replace(event, custom_data=data)


def _memory(settings: GoogleSettings) -> timedelta:
    return timedelta(0) if settings.action(REFUND) is None else settings.adjustment_window


def is_adjustable(event: HashedEvent, settings: GoogleSettings) -> bool:
    """Whether this purchase's conversion goes by its transaction, and can be adjusted."""
    return event.occurrence is None and event.action_source not in settings.without_deduplication


ADJUSTMENT = Adjustment(event_name=REFUND, of=REFUNDED, memory=_memory, is_adjustable=is_adjustable, apply=apply)
