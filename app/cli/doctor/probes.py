"""Asks each platform whether it knows the token, by calls whose pages say that they count nothing.

Pinterest: `test=true` gives the same answers and records no event (developers.pinterest.com, API v5, read 2026-11).
Snapchat: `/events/validate` records no production conversion (developers.snap.com, Conversions API v3, read 2026-11).
Google: `validateOnly` stores nothing (developers.google.com/data-manager, v1, read 2026-11).
Meta: every event that is posted counts, test codes included; reading the dataset's own node tells a token it does not
know (code 190) from one that may only send (code 100; developers.facebook.com, Conversions API, get started, and Graph
API, error handling, read 2026-11).
TikTok: no page says that a test event does not count, so nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from app.cli.doctor.gateway import ahead_s
from app.config import DestinationConfig, Settings
from app.delivery.sender import Progress, Sender
from app.destinations.registry import destinations as known_destinations
from app.doctor.setup import Answer, ClockReading, Probe
from app.errors import InvalidEvent, Reason
from app.model import Delivered, Delivery, HttpReply, NoReply, Park, Rejected, Retry
from app.pipeline import SourcePolicy, plan
from app.policies import source_policy
from app.wire import Event

TIMEOUT_S = 15.0
UNCOUNTED = frozenset({"pinterest", "snapchat", "google"})
"""Types whose adapter's test mode counts nothing, as the platform's pages say."""
_TOKEN_CODES = frozenset({102, 104, 190, 463, 467})
_MAY_NOT_READ = frozenset({3, 10, 100, 200})
OBJECT_UNKNOWN = 33


@dataclass(frozen=True, slots=True)
class Probed:
    """What the platforms said, and how far each one's clock is ahead."""

    probes: Sequence[Probe]
    clocks: Sequence[ClockReading]


async def probe_all(settings: Settings) -> Probed:
    """A probe per enabled destination, in order, and the clocks of those that answered."""
    sender = Sender(outbound=settings.outbound.outbound())
    probes, clocks = [], []
    try:
        for destination in settings.destinations:
            probe, ahead_s = await _probe(sender, settings, destination)
            probes.append(probe)
            if ahead_s is not None:
                clocks.append(ClockReading(destination.name, ahead_s))
    finally:
        await sender.close()
    return Probed(probes, clocks)


async def _probe(sender: Sender, settings: Settings, destination: DestinationConfig) -> tuple[Probe, float | None]:
    name, kind = destination.name, known_destinations()[destination.type]
    if kind.name != "meta" and kind.name not in UNCOUNTED:
        what = "has no documented call that checks a token without an event that counts; its lane tells"
        return Probe(name, Answer.NOT_ASKED, f"{kind.name} {what}"), None
    delivery = _delivery(settings, destination, is_test=kind.name in UNCOUNTED)
    if isinstance(delivery, str):
        return Probe(name, Answer.NOT_ASKED, delivery), None
    (call, *_) = kind.build([delivery], _testing(destination))
    if kind.name == "meta":
        # The same secrets at another address: what was built is never posted.
        node = call.url.removesuffix("/events")
        call = replace(call, method="GET", url=f"{node}?fields=id", body=b"", deliveries=())
    asked_at = datetime.now(UTC)
    reply = await sender.send(call, TIMEOUT_S, Progress())
    if isinstance(reply, NoReply):
        answer = Answer.REFUSED if reply.reason is Reason.CREDENTIALS else Answer.UNSURE
        return Probe(name, answer, reply.detail), None
    probe = _of_meta(name, reply) if kind.name == "meta" else _of_test(name, kind.read(reply, call.deliveries))
    return probe, ahead_s(reply.headers.get("date", ""), asked_at, datetime.now(UTC))


def _testing(destination: DestinationConfig) -> Any:
    """The destination's settings with its test mode on."""
    settings = destination.settings
    return settings.model_copy(update={"test": True}) if "test" in type(settings).model_fields else settings


def _delivery(settings: Settings, destination: DestinationConfig, *, is_test: bool) -> Delivery | str:
    """A made-up purchase of nobody for one destination, or why there can be none."""
    policy = source_policy(settings, settings.sources[0], b"doctor", b"doctor")
    routes = tuple(
        replace(route, settings=_testing(destination), is_routed=True)
        for route in policy.routes
        if route.name == destination.name
    )
    now = datetime.now(UTC)
    names = getattr(destination.settings, "conversion_actions", None) or {"Purchase": ""}
    event = Event.model_validate({**_EVENT, "event_name": next(iter(names)), "event_time": now.isoformat()})
    event = event.model_copy(update={"test": is_test})
    alone: SourcePolicy = replace(policy, routes=routes)
    try:
        planned = plan(event, alone, alone.forms, now)
    except InvalidEvent as error:
        return f"a test event does not fit: {error.faults[0].code}"
    if not planned.deliveries:
        return f"a test event does not fit its settings: {planned.verdicts[destination.name].reason}"
    budget = planned.deliveries[0].budget
    return Delivery(None, b"", destination.name, "convey-doctor", planned.event, now, budget, False)


_EVENT: dict[str, Any] = {
    "transaction_id": "convey-doctor",
    "action_source": "website",
    "event_source_url": "https://example.com/",
    "user": {
        "email": "doctor@example.com",
        "phone": "+12025550123",
        "country": "US",
        "client_user_agent": "Mozilla/5.0",
    },
    "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
    "custom_data": {"currency": "USD", "value": "0.01"},
}


def _of_test(name: str, result: Any) -> Probe:
    """What the answer to a test event says of the token."""
    first = result[0] if isinstance(result, Sequence) and result else result
    if isinstance(first, Delivered):
        return Probe(name, Answer.ACCEPTED, "the platform took a test event, which it does not count")
    if isinstance(first, Park):
        return Probe(name, Answer.REFUSED, first.detail or str(first.reason))
    if isinstance(first, Rejected):
        return Probe(name, Answer.UNSURE, f"it answers, and refused the test event: {first.detail}")
    detail = first.detail if isinstance(first, Retry) else None
    return Probe(name, Answer.UNSURE, detail or "its answer says nothing of the token")


def _of_meta(name: str, reply: HttpReply) -> Probe:
    """What Meta's answer to reading the dataset says of the token."""
    try:
        body = orjson.loads(reply.body)
        error = body.get("error") if isinstance(body, dict) else None
    except orjson.JSONDecodeError:
        return Probe(name, Answer.UNSURE, f"HTTP {reply.status}, and no JSON")
    if isinstance(body, dict) and reply.status == 200 and "id" in body:
        return Probe(name, Answer.ACCEPTED, "the token is known, and may read the dataset")
    code = error.get("code") if isinstance(error, dict) else None
    subcode = error.get("error_subcode") if isinstance(error, dict) else None
    if code in _TOKEN_CODES:
        return Probe(name, Answer.REFUSED, f"code {code}")
    if subcode == OBJECT_UNKNOWN:
        return Probe(name, Answer.UNSURE, "the token is known, but may not see the dataset: is pixel_id right?")
    if code in _MAY_NOT_READ:
        words = "the token is known; it may not read the dataset, which sending does not need"
        return Probe(name, Answer.ACCEPTED, words)
    return Probe(name, Answer.UNSURE, f"HTTP {reply.status}, code {code}")
