"""Destinations that admit what they are told to, and events to plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from app.api.parse import read_events
from app.destinations.base import Admission, Admit, Destination, DestinationSettings, Limits
from app.destinations.registry import destinations
from app.model import Form, HashedEvent, Plan, Verdict
from app.pipeline import Route, SourcePolicy, plan
from app.wire import Event
from tests.factories import START

WINDOW = timedelta(days=7)


def admit_all(event: HashedEvent, settings: Any, now: datetime) -> Admission:
    """Takes every event, for a week."""
    return Admit(event.event_time + WINDOW)


def route(
    name: str = "one",
    admit: Callable[[HashedEvent, Any, datetime], Admission] = admit_all,
    *,
    is_routed: bool = True,
    has_test_mode: bool = True,
    is_limited_supported: bool = True,
    can_limit: bool = True,
    has_consent_states: bool = False,
    needs: frozenset[Form] = frozenset({Form.EMAIL}),
) -> Route:
    """A destination that only decides."""
    kind: Destination[Any] = Destination(
        name="stub",
        settings=DestinationSettings,
        limits=Limits(10, 1000),
        needs=needs,
        is_limited_supported=is_limited_supported,
        has_test_mode=lambda settings: has_test_mode,
        admit=admit,
        build=lambda deliveries, settings: (),
        read=lambda reply, deliveries: (),
        can_limit=lambda event, settings: can_limit,
        has_consent_states=has_consent_states,
    )
    return Route(name, kind, None, is_routed)


SETTINGS: dict[str, dict[str, Any]] = {
    "meta": {"pixel_id": "1234567890", "access_token": "t0ken", "test_event_code": "TEST1"},
    "tiktok": {"pixel_code": "C4ABC", "offline_event_set_id": "7001", "access_token": "t0ken"},
    "pinterest": {"ad_account_id": "549", "access_token": "t0ken"},
    "snapchat": {"pixel_id": "0b1c7e8a", "access_token": "t0ken"},
}


def real_routes() -> tuple[Route, ...]:
    """The four platforms as they are; only Meta has a test mode configured."""
    return tuple(
        Route(name, destinations()[name], destinations()[name].settings(**settings))
        for name, settings in SETTINGS.items()
    )


def policy(*routes: Route, **over: Any) -> SourcePolicy:
    """The policy of a source with these routes, or with the four platforms."""
    return SourcePolicy(over.pop("name", "shop"), routes or real_routes(), **over)


ALLOWED = {"ad_storage": True, "ad_user_data": True, "ad_personalization": True}


def wire(**over: Any) -> dict[str, Any]:
    """A purchase as it is posted, ten minutes old."""
    return {
        "event_name": "Purchase",
        "event_time": "2026-11-20T11:50:00Z",
        "transaction_id": "ORD-1",
        "event_source_url": "https://shop.example/thanks",
        "user": {
            "email": "Jane.Doe@shop-customer.example",
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0 (X11)",
        },
        "consent": dict(ALLOWED),
        "custom_data": {"currency": "USD", "value": "129.90", "order_id": "ORD-1", "contents": [{"id": "SKU-1"}]},
        **over,
    }


def planned(source: SourcePolicy, event: dict[str, Any] | None = None, now: datetime = START, **over: Any) -> Plan:
    """The plan for a posted event."""
    document = wire(**over) if event is None else event
    return plan(Event.model_validate(document), source, source.forms, now)


def decisions(made: Plan) -> dict[str, Any]:
    """Each destination's verdict in short: `queued`, or its reason."""
    return {name: _word(verdict) for name, verdict in made.verdicts.items()}


def _word(verdict: Verdict) -> str:
    return str(verdict.reason or verdict.outcome)


def parsed(document: Any) -> Any:
    """What the HTTP service makes of a document."""
    return read_events(json.dumps(document).encode(), 1000, is_strict=False)
