"""What Google's immediate answers mean: taken as a whole, or refused as a whole.

Source: Data Manager API guides "Understand errors" and "Limits", `ErrorReason` of the client library 0.9.4, read
2026-11-20. There is no partial failure: one event that fails the first checks refuses the request, and nothing of it is
processed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.destinations.base import (
    each,
    isolate,
    json_object,
    named_positions,
    retry_after,
    scrub,
    unknown,
    unreadable,
)
from app.errors import Reason
from app.model import Delivered, Delivery, HttpReply, Park, Rejected, Result, Retry, Split

MANY = 10
"""Up to so many named events are tried alone, to prove that they are meant; more would cost too much of the quota."""
DAY_SPENT = timedelta(hours=1)
"""The day's quota is spent, and the answer does not say until when: asked again each hour."""
NEW_ACTION = timedelta(hours=1)  # a new conversion action takes nothing for some hours (6 in the Google Ads API)

# Canonical codes: "branch on the canonical code" is documented, which of them pass is general to Google's APIs.
PASSING = frozenset("ABORTED INTERNAL UNAVAILABLE DEADLINE_EXCEEDED UNKNOWN CANCELLED".split())
PARKING = frozenset("UNAUTHENTICATED PERMISSION_DENIED NOT_FOUND UNIMPLEMENTED".split())
OF_AN_EVENT = frozenset("INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE".split())

# Reasons (library): what a person has to put right in the account or in the configuration. Nothing is lost meanwhile.
SETUP = frozenset(
    (
        "INVALID_CONVERSION_ACTION_ID INVALID_CONVERSION_ACTION_TYPE OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH "
        "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED DESTINATION_ACCOUNT_TYPE_MISMATCH "
        "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS "
        "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS NOT_ALLOWLISTED "
        "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED DUPLICATE_DESTINATION_REFERENCE TOO_MANY_DESTINATIONS "
        "USER_PERMISSION_DENIED"
    ).split()
)
SOON = frozenset("CONVERSION_ACTION_TOO_RECENTLY_CREATED DESTINATION_TOO_RECENTLY_CREATED".split())
# Reasons (library) about one event or its batch.
DATA = frozenset(
    (
        "REQUIRED_FIELD_MISSING INVALID_FORMAT INVALID_HEX_ENCODING INVALID_BASE64_ENCODING INVALID_SHA256_FORMAT "
        "INVALID_POSTAL_CODE INVALID_REGION_CODE INVALID_CURRENCY_CODE EVENT_TIME_INVALID TOO_MANY_EVENTS "
        "TOO_MANY_USER_IDENTIFIERS NO_IDENTIFIERS_PROVIDED EVENT_SOURCE_AND_DESTINATION_MISMATCH "
        "INVALID_AD_IDENTIFIER_FOR_ACCOUNT CUSTOM_VARIABLE_VALUE_CONTAINS_PII"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an error body says: the canonical code, every reason, each field and why it is wrong, words, its own id."""

    code: str
    reasons: tuple[str, ...]
    fields: tuple[str, ...]
    field_words: tuple[str, ...]
    words: str
    request_id: str | None
    is_daily: bool


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Google's answer means for each of these deliveries: a request id, or not delivered."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        if reply.status in (401, 403) and not reply.body.lstrip().startswith(b"<"):
            return Park(Reason.CREDENTIALS, f"HTTP {reply.status}")
        return unreadable(reply, size)
    error = body.get("error")
    if error is not None or reply.status >= 300:
        return _refused(reply, refusal(error if isinstance(error, dict) else {}), size)
    request_id = body.get("requestId")
    if not isinstance(request_id, str) or not request_id:
        detail = f"HTTP {reply.status} without a requestId"
        return each(Retry(Reason.PLATFORM_ERROR, retry_after(reply.headers), detail, is_ambiguous=True), size)
    warnings = _warnings(body.get("fieldWarnings"), size)
    return [Delivered(request_id[:200], warning) for warning in warnings]


def _refused(reply: HttpReply, told: Refusal, size: int) -> Sequence[Result] | Split | Park:
    after = retry_after(reply.headers)
    code, reasons = told.code, set(told.reasons)
    if code == "RESOURCE_EXHAUSTED" or reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after or (DAY_SPENT if told.is_daily else None), told.words), size)
    if code in PARKING or reply.status in (401, 403, 404):
        return Park(Reason.CREDENTIALS, told.words)
    if code in PASSING or reply.status in (408, 409) or reply.status >= 500:
        is_unsure = code == "DEADLINE_EXCEEDED" or reply.status == 504
        return each(Retry(Reason.PLATFORM_ERROR, after, told.words, is_ambiguous=is_unsure), size)
    if reasons & SOON:
        return each(Retry(Reason.PLATFORM_ERROR, after or NEW_ACTION, told.words), size)
    if reasons & SETUP:
        return Park(Reason.CREDENTIALS, told.words)
    positions = named_positions(size, *told.fields)
    if code in OF_AN_EVENT and reasons & DATA and len(positions) > MANY:
        return _sorted_out(told, size)
    if code in OF_AN_EVENT and (positions or reasons & DATA):
        return isolate(size, told.words, positions, told.request_id)
    if reply.status == 413:
        return isolate(size, told.words)
    return unknown(size, told.words, after)


def _sorted_out(told: Refusal, size: int) -> list[Result]:
    """The named events refused, each with its own reason, and the others tried again: nothing was processed."""
    innocent = Retry(Reason.PLATFORM_ERROR, detail="refused together with others")
    results: list[Result] = [innocent] * size
    for field, words in zip(told.fields, told.field_words, strict=True):
        for position in named_positions(size, field):
            results[position] = Rejected(detail=f"{told.code} {words}", trace_id=told.request_id)
    return results


def refusal(error: Mapping[str, Any]) -> Refusal:
    """The parts of an error body that count, whatever else it holds (`google.rpc.Status` with typed details)."""
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    violations = [
        violation
        for detail in details
        for violation in _list(detail.get("fieldViolations"))
        if isinstance(violation, dict)
    ]
    reasons = [_word(detail.get("reason")) for detail in details] + [_word(one.get("reason")) for one in violations]
    limits = [detail["metadata"].get("quota_limit") for detail in details if isinstance(detail.get("metadata"), dict)]
    code = _word(error.get("status"))
    found = tuple(dict.fromkeys(reason for reason in reasons if reason))
    description = scrub(violations[0].get("description")) if violations else None
    words = " ".join(dict.fromkeys(word for word in (code, *found[:5]) if word)) or "an error without a code"
    message = description or scrub(error.get("message"))
    return Refusal(
        code=code,
        reasons=found,
        fields=tuple(str(one.get("field")) for one in violations),
        field_words=tuple(
            ": ".join(filter(None, (_word(v.get("reason")), scrub(v.get("description"))))) for v in violations
        ),
        words=f"{words}: {message}" if message else words,
        request_id=next((i[:200] for detail in details if isinstance(i := detail.get("requestId"), str) and i), None),
        is_daily=any(isinstance(limit, str) and "PerDay" in limit for limit in limits),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str:
    """A constant of Google's, or nothing: never free text. The prefix of later API versions is dropped."""
    if not isinstance(value, str) or not value.replace("_", "").isalnum() or not value.isascii() or len(value) > 100:
        return ""
    return value.upper().removeprefix("ERROR_REASON_")


def _warnings(told: Any, size: int) -> list[str | None]:
    """Per event the reasons of Google's field warnings; one that names no event is everyone's."""
    found: list[list[str]] = [[] for _ in range(size)]
    for warning in _list(told)[:1000]:
        reason = _word(warning.get("reason")) if isinstance(warning, dict) else ""
        if not reason:
            continue
        for position in named_positions(size, warning.get("field")) or range(size):
            if reason not in found[position] and len(found[position]) < 5:
                found[position].append(reason)
    return [" ".join(reasons) or None for reasons in found]
