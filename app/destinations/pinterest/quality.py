"""Pinterest's event quality score (EQS): status, coverage and overlap with the tag, as Pinterest sees them.

Sources, read 2026-11: developers.pinterest.com/docs/track-conversions/get-event-quality-score (documented: the path,
its parameters, `ads:read` on an OAuth token) and Pinterest's generated client pinterest_sdk 2.1 (its models
EventQualityScore, QualityComponents, QualityComponentDetails: the fields). That a component maps event types to its
details is inferred from the models' words; whatever has another shape is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from app.destinations.base import Measure, Quality, Reading, as_code, described, retry_after, share
from app.destinations.pinterest.settings import PinterestSettings
from app.destinations.pinterest.tables import EVENT_NAMES
from app.errors import Reason
from app.model import HttpCall, HttpReply, Retry

LOOKBACK = "14d"
STANDARD_NAMES = {theirs: ours for ours, theirs in EVENT_NAMES.items() if theirs != "custom"}
COMPONENTS = (
    "advertiser_external_id",
    "click_id_epik",
    "external_event_id",
    "hashed_email",
    "hashed_maid",
    "ip_address",
    "order_id",
    "order_value",
    "product_id",
    "source_url",
    "user_agent",
)
_STATUSES = frozenset({"good", "fair", "needs_improvement"})


def ask(settings: PinterestSettings) -> HttpCall:
    """The question about one ad account, of what came through the API in a fortnight."""
    token = settings.quality_token or settings.access_token
    query = urlencode({"lookback_period": LOOKBACK, "ingestion_source": "CONVERSIONS_API"})
    return HttpCall(
        url=f"{settings.base_url}/{settings.api_version}/ad_accounts/{settings.ad_account_id}/conversion_eqs?{query}",
        body=b"",
        deliveries=(),
        method="GET",
        secret_headers={"authorization": f"Bearer {token.get_secret_value()}"},
    )


def read(reply: HttpReply) -> Sequence[Reading] | Retry:
    """What the answer says: of web events where it speaks of them, else of what it speaks of first."""
    after = retry_after(reply.headers)
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict) and "code" in body:
        words = described(as_code(body["code"]), body.get("message"), None)
        return Retry(Reason.PLATFORM_ERROR, after, f"HTTP {reply.status}: {words}")
    if isinstance(body, dict):  # lists of this API come in pages elsewhere
        body = body.get("items")
    rows = [row for row in body if isinstance(row, dict)] if isinstance(body, list) else None
    if reply.status >= 300 or rows is None:
        return Retry(Reason.PLATFORM_ERROR, after, f"HTTP {reply.status} without a list of scores")
    rows.sort(key=lambda row: row.get("source_platform") != "WEB")
    return list(_of_account(rows[0])) if rows else []


def _of_account(row: Mapping[str, Any]) -> Iterator[Reading]:
    status = row.get("overall_status")
    if isinstance(status, str):
        yield Reading(Measure.STATUS, 1.0, key=status.lower() if status.lower() in _STATUSES else "other")
    components = row.get("quality_components")
    for key in COMPONENTS:
        component = components.get(key) if isinstance(components, dict) else None
        for theirs, details in component.items() if isinstance(component, dict) else ():
            name = STANDARD_NAMES.get(str(theirs).lower())
            if name is None or not isinstance(details, dict):
                continue
            if (covered := share(details.get("coverage"))) is not None:
                yield Reading(Measure.KEY_COVERAGE, covered, name, key)
            if (overlap := share(details.get("overlap"))) is not None:
                yield Reading(Measure.DEDUP_COVERAGE, overlap, name, key)


QUALITY = Quality(every=lambda settings: settings.quality_every, ask=ask, read=read)
