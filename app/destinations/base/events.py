"""What an adapter makes of an event: its age, the platform's name for it, its fields in the platform's types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

import orjson

from app.destinations.base.contract import MappedSettings, Skip
from app.errors import DestinationError, Reason
from app.facts import CLOCK_TOLERANCE
from app.model import Delivery, Form, HashedEvent, HashedIdentity


def gate_age(event: HashedEvent, window: timedelta, margin: timedelta, now: datetime) -> datetime | Skip:
    """The instant until which the platform takes the event, or the reason why it does not now.

    `window` is the platform's documented or chosen maximum age; `margin` is taken off it.
    """
    if event.event_time > now + CLOCK_TOLERANCE:
        return Skip(Reason.IN_FUTURE, "event_time is more than 5 minutes ahead of now")
    until = event.event_time + window - margin
    if until <= now:
        return Skip(Reason.TOO_OLD, f"event_time is older than the {window.days} days this platform takes")
    return until


def platform_name(
    event: HashedEvent, settings: MappedSettings, table: Mapping[str, str], custom: str | None
) -> str | None:
    """What the platform calls this event; None when it takes no such event.

    `skip_events` decides first, then `event_names`, then `table` (canonical name to platform name). `custom` is
    the name for an event that is not standard, None where the platform takes none.
    """
    if event.event_name in settings.skip_events:
        return None
    if event.event_name in settings.event_names:
        return settings.event_names[event.event_name]
    return custom if event.is_custom else table.get(event.event_name)


def test_code(delivery: Delivery, configured: str | None) -> str | None:
    """The test code a test event goes with: its own for this destination, else the configured one.

    None for a live event, and for a test event that has no code to go with.
    """
    if not delivery.event.is_test:
        return None
    return delivery.event.test_codes.get(delivery.destination, configured)


test_code.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's, whatever its name


_PAGE_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)


def page_url(event: HashedEvent) -> str | None:
    """The page's address, when it is a whole one; anything else is no address to a platform."""
    url = event.event_source_url
    return url if url and _PAGE_URL.fullmatch(url) else None


def tidy(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` without the keys that hold None, an empty text, list or mapping; zero and False stay."""
    return {key: value for key, value in record.items() if value or value == 0}


_NOTHING_HASHED = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def hashed(identity: HashedIdentity, form: Form) -> list[str]:
    """The digests of one form as lower-case hex, in order.

    Raises: DestinationError when one is no SHA-256, or the SHA-256 of nothing: neither may ever leave.
    """
    values = identity.hex(form)
    for value in values:
        if len(value) != 64 or value == _NOTHING_HASHED:
            raise DestinationError(f"a value of form {form.value} is not the SHA-256 of an identifier")
    return values


def plain(amount: Decimal) -> str:
    """An amount as plain decimal text: no exponent, no separators, the caller's digits."""
    return format(amount, "f")


def number(amount: Decimal | None) -> orjson.Fragment | None:
    """An amount as a JSON number with the caller's digits, never by way of a float."""
    return None if amount is None else orjson.Fragment(format(amount, "f"))


def unix_seconds(event: HashedEvent) -> int:
    """When it happened, in whole Unix seconds."""
    return int(event.event_time.timestamp())


def scalars(
    properties: Mapping[str, Any], reserved: frozenset[str] = frozenset()
) -> dict[str, str | int | float | bool]:
    """The entries of free data that fit a flat JSON map: text, numbers and truth values, under unreserved keys."""
    return {key: value for key, value in properties.items() if key and key not in reserved and _is_scalar(value)}


def _is_scalar(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def app_text(event: HashedEvent, key: str) -> str | None:
    """A text in the event's app data; None when it is absent, empty or no text."""
    value = (event.app or {}).get(key)
    return value if isinstance(value, str) and value else None


_BETWEEN = re.compile(r"[\s,;]+")


def app_texts(event: HashedEvent, key: str) -> list[str]:
    """The words of a text in the event's app data that lists several, apart by commas, semicolons or blanks."""
    return [word for word in _BETWEEN.split(app_text(event, key) or "") if word]


def app_flag(event: HashedEvent, key: str) -> int | None:
    """A yes (1) or no (0) in the event's app data, given as truth value or 0/1; None when it is neither."""
    value = (event.app or {}).get(key)
    return int(value) if isinstance(value, int) and value in (0, 1) else None


def app_extinfo(event: HashedEvent) -> list[str] | None:
    """The 16 device slots Meta and Snapchat want, as text; None unless there are 16 and the first is a2 or i2."""
    slots = (event.app or {}).get("extinfo")
    if not isinstance(slots, list) or len(slots) != 16 or slots[0] not in ("a2", "i2"):
        return None
    return ["" if slot is None else str(slot) for slot in slots]


def app_system(event: HashedEvent) -> Literal["ios", "android"] | None:
    """The operating system the app ran on: as stated (`app.os`, `extinfo`), else told by the advertising id."""
    stated = (app_text(event, "os") or "").lower()
    if stated in ("ios", "ipados"):
        return "ios"
    if stated == "android":
        return "android"
    slots = app_extinfo(event)
    if slots is not None:
        return "ios" if slots[0] == "i2" else "android"
    if event.identity.idfa or event.identity.idfv:
        return "ios"
    return "android" if event.identity.gaid else None


_UUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})", re.IGNORECASE)


def uuid_text(value: str | None) -> str | None:
    """An advertising or vendor id as lower-case UUID; None when it is none, or all zero (tracking is off)."""
    match = _UUID.fullmatch(value) if value and value.strip("0-") else None
    return "-".join(match.groups()).lower() if match else None
