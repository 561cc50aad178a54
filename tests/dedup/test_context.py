"""How what the checkout page knew completes the event that is posted later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.dedup.context import Context, completed, decode_context, encode_context, kept_of
from app.errors import InvalidEvent
from app.wire import CheckoutContext, Event
from tests.factories import START

ALLOWED = {"ad_storage": True, "ad_user_data": True, "ad_personalization": True}
REFUSED = {"ad_storage": False, "ad_user_data": False, "ad_personalization": False}
USER = {"client_ip_address": "203.0.113.9", "client_user_agent": "Mozilla/5.0", "fbp": "fb.1.1763632800000.1098115397"}


def context(**over: Any) -> Context:
    """What a page left an hour ago."""
    fields: dict[str, Any] = {"kept_at": START - timedelta(hours=1), "user": dict(USER), "consent": dict(ALLOWED)}
    return Context(**{**fields, **over})


def event(**over: Any) -> Event:
    """An order as a payment webhook posts it."""
    return Event.model_validate(
        {"event_name": "Purchase", "event_time": START.timestamp(), "transaction_id": "O-1", **over}
    )


def test_it_fills_what_the_event_lacks() -> None:
    whole = completed(event(user={"email": "a@b.example"}), context(event_source_url="https://shop.example/checkout"))
    assert whole.user.email == "a@b.example"
    assert {field: getattr(whole.user, field) for field in USER} == USER
    assert whole.event_source_url == "https://shop.example/checkout"
    assert whole.consent.ad_storage is True


def test_the_event_s_own_fields_win() -> None:
    posted = event(user={"fbp": "fb.1.1763632800001.2"}, event_source_url="https://shop.example/thanks")
    whole = completed(posted, context(event_source_url="https://shop.example/checkout"))
    assert whole.user.fbp == "fb.1.1763632800001.2"
    assert whole.user.client_ip_address == USER["client_ip_address"]
    assert whole.event_source_url == "https://shop.example/thanks"


def test_an_event_that_lacks_nothing_is_handed_back_as_it_is() -> None:
    posted = event(user=dict(USER), consent=dict(REFUSED))
    assert completed(posted, context()) is posted


def test_a_store_s_sale_gets_no_page() -> None:
    whole = completed(event(action_source="physical_store"), context(event_source_url="https://shop.example/checkout"))
    assert whole.event_source_url is None


@pytest.mark.parametrize(
    ("own", "left", "wins"),
    [
        ({}, {}, "page"),
        ({"jurisdiction": "DE"}, {}, "page"),
        (REFUSED, {}, "event"),
        ({"ad_storage": False}, {}, "event"),
        ({"tcf": "CQ"}, {}, "event"),
        ({**REFUSED, "collected_at": START.isoformat()}, {}, "event"),
        ({**REFUSED, "collected_at": (START - timedelta(hours=2)).isoformat()}, {}, "page"),
        ({**REFUSED, "collected_at": (START - timedelta(hours=2)).timestamp()}, {}, "page"),
        (
            {**REFUSED, "collected_at": (START - timedelta(hours=2)).isoformat()},
            {"collected_at": (START - timedelta(hours=3)).isoformat()},
            "event",
        ),
        ({**REFUSED, "collected_at": "some time ago"}, {}, "event"),
    ],
)
def test_the_later_consent_wins(own: dict[str, Any], left: dict[str, Any], wins: str) -> None:
    whole = completed(event(consent=own), context(consent={**ALLOWED, **left}))
    assert (whole.consent.ad_user_data is True) == (wins == "page")
    assert whole.consent.jurisdiction == own.get("jurisdiction")


def test_what_is_kept_holds_no_personal_data_and_reads_back() -> None:
    posted = CheckoutContext.model_validate(
        {
            "user": USER,
            "event_source_url": "https://shop.example/checkout?email=jane.doe%40example.com&fbclid=IwY2Abc",
            "consent": {**ALLOWED, "jurisdiction": "US-CA"},
        }
    )
    kept = kept_of(posted, "redact", START)
    assert kept.event_source_url is not None
    assert "jane" not in kept.event_source_url
    assert "fbclid=IwY2Abc" in kept.event_source_url
    assert decode_context(encode_context(kept)) == kept


@pytest.mark.parametrize(
    ("posted", "policy", "pointer"),
    [
        ({"user": {"fbp": "jane.doe@example.com"}}, "redact", "/user/fbp"),
        ({"user": {"gclid": "jane.doe@example.com"}}, "report", "/user/gclid"),
        ({"event_source_url": "https://shop.example/?email=jane.doe%40example.com"}, "reject", "/event_source_url"),
    ],
)
def test_personal_data_is_refused(posted: dict[str, Any], policy: Any, pointer: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        kept_of(CheckoutContext.model_validate(posted), policy, START)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert "jane" not in str([fault.detail for fault in refused.value.faults])
