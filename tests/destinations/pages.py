"""Runs the examples of a destination's page: the event gives exactly the request, the reply exactly the results.

A page holds fenced blocks whose info string says what they are: `json settings` (once), pairs of `json event` and
`json request` (`json event limited` for an event sent in the limited mode), pairs of `json reply` and `json results`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.destinations.base import Admit
from app.destinations.registry import destinations
from app.event_names import canonical_name
from app.facts import event_time
from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.model import (
    ConsentFacts,
    Delivered,
    HashedContent,
    HashedCustomData,
    HashedEvent,
    HttpCall,
    HttpReply,
    Park,
    Rejected,
    Result,
    Retry,
    Split,
)
from app.pipeline import is_test
from app.wire import Event
from tests.destinations.support import batch, delivery

PAGES = Path(__file__).parents[2] / "docs" / "destinations"
PAGE_NOW = datetime(2026, 11, 20, 10, 16, tzinfo=UTC)
_BLOCK = re.compile(
    r"^```json (settings|event|event limited|request|reply|results)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def check_page(name: str) -> None:
    """Run every pair of the page of this destination."""
    blocks = blocks_of(name)
    kinds = [kind for kind, _ in blocks]
    assert "request" in kinds and "results" in kinds, "a page has both kinds of pairs"
    settings = settings_of(name)
    for (kind, text), (next_kind, expected) in pairwise(blocks):
        if kind.startswith("event"):
            assert next_kind == "request", "an event is followed by its request"
            assert exact(request_of(name, settings, text, is_limited=kind == "event limited")) == exact(expected)
        elif kind == "reply":
            assert next_kind == "results", "a reply is followed by its results"
            assert exact(results_of(name, text)) == exact(expected)


def blocks_of(name: str) -> list[tuple[str, str]]:
    """The examples of a page: the kind of each block and its text, in order."""
    return _BLOCK.findall((PAGES / f"{name}.md").read_text("utf-8"))


def settings_of(name: str) -> Any:
    """The settings the examples of a page are made with."""
    (text,) = (text for kind, text in blocks_of(name) if kind == "settings")
    return destinations()[name].settings(**json.loads(text))


def exact(text: str) -> str:
    """JSON in one spelling that keeps 1, 1.0, "1" and true apart."""
    return json.dumps(json.loads(text, parse_float=lambda number: {"number": number}), sort_keys=True, indent=1)


def request_of(name: str, settings: Any, text: str, *, is_limited: bool) -> str:
    """The request a posted event becomes, as JSON with its secrets masked."""
    destination = destinations()[name]
    posted = Event.model_validate_json(text)
    hashed = _hashed(posted, name)
    admission = destination.admit(hashed, settings, PAGE_NOW)
    assert isinstance(admission, Admit), admission
    assert not is_limited or destination.can_limit(hashed, settings)
    (call,) = destination.build(
        [delivery(hashed, event_id=posted.event_id or "purchase_ORD-12345", destination=name, limited=is_limited)],
        settings,
    )
    return _shown(call)


def _shown(call: HttpCall) -> str:
    url = call.url
    if call.secret_params:
        url += "?" + urlencode(dict.fromkeys(call.secret_params, "***"), safe="*")
    headers = {**call.headers, **dict.fromkeys(call.secret_headers, "***")}
    if call.auth is not None:
        headers["authorization"] = "***"
    frame = json.dumps({"method": call.method, "url": url, "headers": headers})
    return frame[:-1] + ', "body": ' + call.body.decode() + "}"


def _hashed(posted: Event, name: str) -> HashedEvent:
    times = event_time(posted.event_time, PAGE_NOW)
    assert isinstance(times, tuple)
    canonical, is_custom = canonical_name(posted.event_name)
    identity, _ = hash_identity(
        posted.user,
        options=HashingOptions(default_region="US"),
        forms=destinations()[name].needs,
        event_source_url=posted.event_source_url,
        event_time=times[1],
        today=PAGE_NOW.date(),
    )
    data = posted.custom_data.model_dump(exclude_none=True)
    data["contents"] = tuple(HashedContent(**line) for line in data.get("contents", ()))
    return HashedEvent(
        source="shop",
        event_name=canonical,
        event_time=times[1],
        action_source=posted.action_source,
        is_custom=is_custom,
        transaction_id=posted.transaction_id,
        occurrence=posted.occurrence,
        event_source_url=posted.event_source_url,
        referrer_url=posted.referrer_url,
        identity=identity,
        custom_data=HashedCustomData(**data),
        app=posted.app.model_dump(exclude_none=True) if posted.app else None,
        is_test=is_test(posted),
        test_codes=posted.test_event_codes or {},
        consent=ConsentFacts(posted.consent.ad_user_data, posted.consent.ad_personalization),
    )


def results_of(name: str, text: str) -> str:
    """What a reply on the page means, as JSON."""
    shown = json.loads(text)
    body = shown["body"] if isinstance(shown["body"], str) else json.dumps(shown["body"])
    answer = HttpReply(shown["status"], shown.get("headers", {}), body.encode())
    return json.dumps(_told(destinations()[name].read(answer, batch(shown["events"]))), ensure_ascii=False)


def _told(verdict: Sequence[Result] | Split | Park) -> Any:
    if isinstance(verdict, Split):
        return {"split": {"detail": verdict.detail, "suspects": list(verdict.suspects)}}
    if isinstance(verdict, Park):
        return {"park": {"reason": verdict.reason, "detail": verdict.detail}}
    return [_told_one(result) for result in verdict]


def _told_one(result: Result) -> dict[str, Any]:
    if isinstance(result, Delivered):
        told: dict[str, Any] = {"outcome": "delivered", "trace_id": result.trace_id, "warning": result.warning}
    elif isinstance(result, Rejected):
        told = {"outcome": "dead", "reason": result.reason, "detail": result.detail, "trace_id": result.trace_id}
    else:
        assert isinstance(result, Retry)
        told = {
            "outcome": "retrying",
            "reason": result.reason,
            "detail": result.detail,
            "after_s": result.after // timedelta(seconds=1) if result.after else None,
            "max_attempts": result.max_attempts,
            "is_ambiguous": result.is_ambiguous or None,
        }
    return {key: value for key, value in told.items() if value is not None}
