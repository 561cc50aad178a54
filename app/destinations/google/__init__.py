"""Google Ads conversions through the Data Manager API v1: `events:ingest`, and what became of it later.

Documented at developers.google.com/data-manager/api, read 2026-11-20; the page `docs/destinations/google.md` has the
field tables and says how sure each rule is. Google has no event names: each event goes to a conversion action that the
settings name, and is recognised by its transactionId alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import orjson

from app.destinations.base import ApiVersion, Destination, Limits, Rate, grouped, pack, tidy
from app.destinations.google.answers import read
from app.destinations.google.events import admit, event_body, pixel_call, pixel_name
from app.destinations.google.later import LATER
from app.destinations.google.refunds import ADJUSTMENT
from app.destinations.google.settings import MAX_ACTIONS, SCOPE, GoogleSettings
from app.errors import DestinationError
from app.model import Delivery, Form, HttpCall, TokenFor

LIMITS = Limits(
    max_items=2000,  # limits, documented
    max_bytes=8_000_000,  # not published; far above 2000 events as they are sent here
    max_in_flight=4,  # best practices advise at most 10, over all processes
    rates=(Rate(300, timedelta(minutes=1)), Rate(100_000, timedelta(days=1))),  # limits, documented: per project
)
LINGER = timedelta(seconds=2)
"""Requests are counted per project (300 a minute, 100,000 a day): fewer, larger ones."""

VERSIONS = {  # release notes, documented: features are added in place (1.9 on 2026-11-04), no end is announced
    "v1": ApiVersion(
        date(2026, 11, 20), "https://developers.google.com/data-manager/api/release-notes", released=date(2025, 4, 1)
    )
}


def build(deliveries: Sequence[Delivery], settings: GoogleSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: several conversion actions may share one, test events stay apart."""
    places = {action: place for place, action in enumerate(dict.fromkeys(settings.conversion_actions.values()))}
    calls = []

    def key(delivery: Delivery) -> tuple[bool, int]:
        return delivery.event.is_test, places[_action(delivery, settings)] // MAX_ACTIONS

    for (is_test, _), group in grouped(deliveries, key).items():
        if is_test and not settings.test:
            raise DestinationError("a test event has no way to Google without the test setting")
        actions = sorted({_action(delivery, settings) for delivery in group}, key=places.__getitem__)
        head = b'{"destinations":' + orjson.dumps([_destination(action, settings) for action in actions])
        tail = b'],"encoding":"HEX"' + (b',"validateOnly":true}' if is_test else b"}")
        items = [(one, orjson.dumps(event_body(one, settings, _action(one, settings)))) for one in group]
        calls += [
            HttpCall(
                url=f"{settings.base_url}/{settings.api_version}/events:ingest",
                body=body,
                deliveries=batch,
                headers=headers(settings),
                auth=TokenFor(settings.credential(), SCOPE),
            )
            for batch, body in pack(items, LIMITS, head + b',"events":[', tail)
        ]
    return calls


def headers(settings: GoogleSettings) -> dict[str, str]:
    """What every request carries beside its token."""
    own = {"content-type": "application/json"}
    return own if settings.quota_project is None else {**own, "x-goog-user-project": settings.quota_project}


def _action(delivery: Delivery, settings: GoogleSettings) -> str:
    action = settings.action(delivery.event.event_name)
    if action is None:
        raise DestinationError("Google has no conversion action for a delivery's event any more")
    return action


def _destination(action: str, settings: GoogleSettings) -> dict[str, Any]:
    """A conversion action as an entry of `destinations`; events refer to it by its own id."""

    def account(number: str | None, kind: str = "GOOGLE_ADS") -> dict[str, str] | None:
        return None if number is None else {"accountType": kind, "accountId": number}

    return tidy(
        {
            "reference": action,
            "operatingAccount": account(settings.operating_account),
            "loginAccount": account(settings.login_account or settings.operating_account),
            "linkedAccount": account(settings.linked_account),
            "productDestinationId": action,
        }
    )


DESTINATION = Destination(
    name="google",
    settings=GoogleSettings,
    limits=LIMITS,
    needs=frozenset({Form.EMAIL_GMAIL_FOLDED, Form.PHONE_E164}),
    is_limited_supported=True,  # as personalisation refused: the consent states travel with each event
    has_test_mode=lambda settings: settings.test,
    admit=admit,
    build=build,
    read=read,
    has_consent_states=True,
    linger=LINGER,
    pixel_call=pixel_call,
    pixel_name=pixel_name,
    versions=VERSIONS,
    later=LATER,
    adjustment=ADJUSTMENT,
    budget=lambda settings: f"google:{settings.project()}",
)
