"""Meta's Dataset Quality API: event match quality, coverage and deduplication, as Meta sees them.

Source: developers.facebook.com/docs/marketing-api/conversions-api/dataset-quality-api, read 2026-11: the path, its
parameters and the fields. Web events only; of offline events there is a beta of another shape. The field table and the
example spell the part about deduplication differently (`dedup_key_feedback`, `dedupe_key_feedback`): the example's
spelling is asked for, either is read. That `agent_name` may be left out is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from app.destinations.base import Measure, Quality, Reading, as_code, described, json_object, retry_after, share
from app.destinations.meta.exchange import secrets_of
from app.destinations.meta.settings import MetaSettings
from app.errors import Reason
from app.event_names import STANDARD_EVENTS
from app.model import HttpCall, HttpReply, Retry

FIELDS = (
    "web{event_name,event_match_quality{composite_score,match_key_feedback{identifier,coverage{percentage}}},"
    "event_coverage{percentage},"
    "dedupe_key_feedback{dedupe_key,overall_browser_coverage_from_dedupe_key{percentage}}}"
)
MOST_KEYS = 40
"""Identifiers read per event; Meta names about twenty."""


def ask(settings: MetaSettings) -> HttpCall:
    """The question about one dataset."""
    query = {"dataset_id": settings.pixel_id, "fields": FIELDS}
    if settings.partner_agent is not None:
        query["agent_name"] = settings.partner_agent
    return HttpCall(
        url=f"{settings.base_url}/{settings.api_version}/dataset_quality?{urlencode(query)}",
        body=b"",
        deliveries=(),
        method="GET",
        **secrets_of(settings, settings.quality_token or settings.access_token),
    )


def read(reply: HttpReply) -> Sequence[Reading] | Retry:
    """What the answer says of each standard event."""
    body = json_object(reply)
    after = retry_after(reply.headers)
    if body is None:
        return Retry(Reason.PLATFORM_ERROR, after, f"HTTP {reply.status} without a readable body")
    error = body.get("error")
    if isinstance(error, dict):
        return Retry(Reason.PLATFORM_ERROR, after, described(as_code(error.get("code")), error.get("message"), None))
    rows = body.get("web")
    if reply.status >= 300 or not isinstance(rows, list):
        return Retry(Reason.PLATFORM_ERROR, after, f"HTTP {reply.status} without `web`")
    return [reading for row in rows if isinstance(row, dict) for reading in _of_event(row)]


def _of_event(row: Mapping[str, Any]) -> Iterator[Reading]:
    name = row.get("event_name")
    if name not in STANDARD_EVENTS:
        return  # custom events have no place in a metric's labels
    match = _part(row, "event_match_quality")
    score = match.get("composite_score")
    if isinstance(score, int | float) and not isinstance(score, bool):
        yield Reading(Measure.MATCH_QUALITY, float(score), name)
    if (covered := share(_part(row, "event_coverage").get("percentage"))) is not None:
        yield Reading(Measure.EVENT_COVERAGE, covered, name)
    yield from _shares(match.get("match_key_feedback"), "identifier", "coverage", Measure.KEY_COVERAGE, name)
    feedback = row.get("dedupe_key_feedback", row.get("dedup_key_feedback"))
    overall = "overall_browser_coverage_from_dedupe_key"
    yield from _shares(feedback, "dedupe_key", overall, Measure.DEDUP_COVERAGE, name)


def _shares(rows: Any, key_field: str, field: str, measure: Measure, name: str) -> Iterator[Reading]:
    for row in rows[:MOST_KEYS] if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        key, value = row.get(key_field), share(_part(row, field).get("percentage"))
        if isinstance(key, str) and key.isidentifier() and value is not None:
            yield Reading(measure, value, name, key.lower())


def _part(row: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    found = row.get(field)
    return found if isinstance(found, dict) else {}


QUALITY = Quality(every=lambda settings: settings.quality_every, ask=ask, read=read)
