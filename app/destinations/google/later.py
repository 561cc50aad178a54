"""What became of a request, asked with `requestStatus:retrieve`.

Source: Data Manager API guide "Diagnostics" (documented: wait 30 minutes, then ask with growing gaps until every
destination is done), `RequestStatus` and `ProcessingErrorReason` of the discovery document of 2026-11-06 (library),
read 2026-11-20. It takes up to a day (seen in peers); the status is kept for about 50 days.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from app.destinations.base import Later, Report, json_object, retry_after
from app.destinations.google.answers import PARKING, SETUP, refusal
from app.destinations.google.settings import SCOPE, GoogleSettings
from app.errors import Reason
from app.model import HttpCall, HttpReply, Park, Retry, TokenFor

GIVE_UP_AFTER = timedelta(days=3)
DONE = frozenset({"SUCCESS", "PARTIAL_SUCCESS", "FAILED", "FAILURE"})  # the enum's word, and one page's

# The conversion is there already: nothing was refused.
DUPLICATES = frozenset({"duplicate_transaction_id", "duplicate_gclid"})
REASONS = frozenset(
    (
        "internal_error too_recent_click destination_too_recently_created too_recent_call "
        "click_not_found invalid_click denied_consent no_consent unknown_consent "
        "invalid_gclid invalid_gbraid invalid_wbraid invalid_format invalid_event event_too_old expired_click "
        "conversion_precedes_click invalid_merchant_id invalid_custom_variable invalid_operating_account_for_click "
        "operating_account_mismatch_for_ad_identifier external_attribution_data_missing "
        "one_per_click_conversion_action_not_permitted_with_braid terms_not_signed"
    ).split()
)


def ask(request_id: str, settings: GoogleSettings) -> HttpCall:
    """The question about one request."""
    own = {} if settings.quota_project is None else {"x-goog-user-project": settings.quota_project}
    return HttpCall(
        url=f"{settings.base_url}/{settings.api_version}/requestStatus:retrieve?requestId={quote(request_id, safe='')}",
        body=b"",
        deliveries=(),
        method="GET",
        headers=own,
        auth=TokenFor(settings.credential(), SCOPE),
    )


def read(reply: HttpReply, size: int) -> Report | Retry | Park:
    """What the answer says of the request's `size` events."""
    body = json_object(reply)
    after = retry_after(reply.headers)
    if body is None:
        return Retry(Reason.PLATFORM_ERROR, after, f"HTTP {reply.status} without a readable body")
    if reply.status >= 300 or "error" in body:
        return _refused(reply, body, after)
    rows = body.get("requestStatusPerDestination")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return Retry(Reason.PLATFORM_ERROR, after, "an answer without the status of any destination")
    refused: dict[int, str] = {}
    unplaced: dict[str, int] = {}
    for row in rows:
        for reason, count, positions in _errors(row):
            if reason in DUPLICATES:
                continue
            placed = [position for position in positions if position < size]
            if not placed and count == size and len(rows) == 1:
                placed = list(range(size))  # all that there were
            refused |= {position: reason for position in placed if position not in refused}
            if count > len(placed):
                unplaced[reason] = unplaced.get(reason, 0) + count - len(placed)
    return Report(all(row.get("requestStatus") in DONE for row in rows), refused, unplaced)


def _refused(reply: HttpReply, body: Mapping[str, Any], after: timedelta | None) -> Report | Retry | Park:
    error = body.get("error")
    told = refusal(error if isinstance(error, dict) else {})
    if "REQUEST_TOO_OLD" in told.reasons:
        return Report(is_final=True)
    if told.code == "NOT_FOUND" or reply.status == 404:
        return Retry(Reason.PLATFORM_ERROR, after, told.words)
    if told.code in PARKING or reply.status in (401, 403) or SETUP & set(told.reasons):
        return Park(Reason.CREDENTIALS, told.words)
    reason = Reason.RATE_LIMITED if told.code == "RESOURCE_EXHAUSTED" else Reason.PLATFORM_ERROR
    return Retry(reason, after, told.words)


def _errors(row: Mapping[str, Any]) -> list[tuple[str, int, list[int]]]:
    """Reason, how many, and which positions, for each kind of error of one destination."""
    info = row.get("errorInfo")
    counts = info.get("errorCounts") if isinstance(info, dict) else None
    found = []
    for entry in counts if isinstance(counts, list) else ():
        if not isinstance(entry, dict):
            continue
        indices = entry.get("recordIndices")  # since release 1.9; may be missing
        positions = [n for index in (indices if isinstance(indices, list) else ()) if (n := _whole(index)) is not None]
        count = _whole(entry.get("recordCount"))
        found.append((_reason(entry.get("reason")), len(positions) if count is None else count, positions))
    return found


def _reason(value: Any) -> str:
    """A reason in lower case without its prefix (one constant of Google's lacks the middle of it)."""
    if not isinstance(value, str) or not value.isascii() or not value.replace("_", "").isalnum() or len(value) > 120:
        return "other"
    word = value.upper().removeprefix("PROCESSING_ERROR_").removeprefix("REASON_").lower()
    return "terms_not_signed" if word.endswith("terms_not_signed") else word


def _whole(value: Any) -> int | None:
    """A count or an index; int64 is text in JSON."""
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) <= 9:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


LATER = Later(
    first_after=lambda settings: settings.status_after,
    give_up_after=GIVE_UP_AFTER,
    ask=ask,
    read=read,
    reasons=REASONS,
)
