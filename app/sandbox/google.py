"""Google's Data Manager API v1 as its pages describe it: POST /v1/events:ingest, checked and taken as a whole.

Sources (read 2026-11, under developers.google.com/data-manager/api): devguides/concepts/understand-errors (ERR),
devguides/limits (LIM), devguides/concepts/formatting (FMT), devguides/events/google-ads/conversion-adjustments (ADJ);
the discovery document of 2026-11-06 and the client library 0.9.4 for shapes (LIB). Tokens, quota and what becomes of a
request later are in `google_side`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.sandbox import checks as c
from app.sandbox.base import Answer, Arrival, Call, ErrorKind, Label, Platform, Reply, bearer, decode_json
from app.sandbox.counting import Copy
from app.sandbox.google_side import GoogleSide

MAX_EVENTS = 2000  # documented: LIM
MAX_DESTINATIONS = 10
MAX_IDENTIFIERS = 10
AHEAD_S = 300  # inferred

SOURCES = ("WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER")  # LIB
NOT_ADJUSTED = frozenset(["IN_STORE", "PHONE"])  # documented: ADJ; that the event source tells them is inferred
_GRANT = c.one_of("CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED")
_DIGITS = c.shaped(r"[0-9]{1,20}", "must be digits in a string")
_COUNT = c.shaped(r"[0-9]{1,19}", "must be a whole number in a string")  # int64 is text in JSON: LIB
_SUBDIVISION = c.shaped(r"[A-Z]{2}", "must be two capital letters")

ACCOUNT: dict[str, c.Check] = {
    "accountType": c.one_of("GOOGLE_ADS", "DATA_PARTNER", "GOOGLE_ANALYTICS_PROPERTY"),
    "accountId": _DIGITS,
}


def _object(table: Mapping[str, c.Check]) -> c.Check:
    """A check for an object whose keys are all known: a proto has no others (LIB)."""
    check = c.listed(table, closed=True)

    def checked(value: Any) -> str | None:
        wrong = check([value])
        return None if wrong is None else wrong.removeprefix("[0]").lstrip(".")

    return checked


DESTINATION: dict[str, c.Check] = {
    "reference": c.text,
    "operatingAccount": _object(ACCOUNT),
    "loginAccount": _object(ACCOUNT),
    "linkedAccount": _object(ACCOUNT),
    "productDestinationId": _DIGITS,
}
ADDRESS: dict[str, c.Check] = {  # FMT: names hashed, the rest in plain
    "givenName": c.hashed,
    "familyName": c.hashed,
    "regionCode": _SUBDIVISION,
    "postalCode": c.plain,
}
IDENTIFIER: dict[str, c.Check] = {"emailAddress": c.hashed, "phoneNumber": c.hashed, "address": _object(ADDRESS)}
ITEM: dict[str, c.Check] = {
    "merchantProductId": c.text,
    "itemId": c.text,
    "quantity": _COUNT,
    "unitPrice": c.number,
    "conversionValue": c.number,
}
EVENT: dict[str, c.Check] = {
    "destinationReferences": c.strings,
    "transactionId": c.text,
    "eventTimestamp": c.string,
    "lastUpdatedTimestamp": c.string,
    "eventSource": c.one_of(*SOURCES),
    "adIdentifiers": _object(
        {
            **dict.fromkeys(["gclid", "gbraid", "wbraid", "leadId", "mobileDeviceId", "sessionAttributes"], c.text),
            "landingPageDeviceInfo": c.obj,
        }
    ),
    "userData": _object({"userIdentifiers": c.listed(IDENTIFIER, closed=True)}),
    "currency": c.shaped(r"[A-Z]{3}", "must be an ISO 4217 code"),
    "conversionValue": c.number,
    "conversionCount": c.number,
    "eventDeviceInfo": _object(
        {"userAgent": c.plain, "ipAddress": c.ip, "languageCode": c.text, "category": c.text, "brand": c.text}
    ),
    "cartData": _object(
        {
            "merchantId": _DIGITS,
            "merchantFeedLabel": c.text,
            "merchantFeedLanguageCode": c.text,
            "transactionDiscount": c.number,
            "couponCodes": c.strings,
            "items": c.listed(ITEM, closed=True),
        }
    ),
    "customVariables": c.listed({"variable": c.text, "value": c.text, "destinationReferences": c.strings}, closed=True),
    "consent": _object({"adUserData": _GRANT, "adPersonalization": _GRANT}),
    "userProperties": _object(
        {
            "customerType": c.one_of("NEW", "RETURNING", "REENGAGED"),
            "customerValueBucket": c.one_of("LOW", "MEDIUM", "HIGH"),
        }
    ),
    "callInfo": _object({"startTimestamp": c.text}),
}
BODY = frozenset(["destinations", "events", "consent", "encoding", "validateOnly", "encryptionInfo"])
REASONS = {  # which of Google's reasons a broken rule has: LIB; the pairing is inferred
    "eventTimestamp": "EVENT_TIME_INVALID",
    "currency": "INVALID_CURRENCY_CODE",
    "userData": "INVALID_SHA256_FORMAT",
}


def seconds(instant: str) -> float | None:
    """The Unix time of an RFC 3339 instant with an offset; None when it is none."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})", instant) is None:
        return None
    try:
        return datetime.fromisoformat(instant).timestamp()
    except ValueError:
        return None


def check_event(event: Any, now: float, references: frozenset[str]) -> tuple[str, str, str] | None:
    """The first rule an event breaks: field, reason, words."""
    if type(event) is not dict:
        return "", "INVALID_FORMAT", "must be an object"
    unknown: list[str] = []
    problem = c.fields(EVENT, event, "", unknown)
    if problem is not None:
        return problem.where, REASONS.get(problem.where, "INVALID_FORMAT"), problem.what
    if unknown:
        return unknown[0], "INVALID_FORMAT", "is not a known field"
    for name in ("eventTimestamp", "eventSource"):  # eventSource: seen in a public thread
        if name not in event:
            return name, "REQUIRED_FIELD_MISSING", "is required"
    at = seconds(event["eventTimestamp"])
    if at is None or at > now + AHEAD_S:
        return "eventTimestamp", "EVENT_TIME_INVALID", "is no instant" if at is None else "is in the future"
    if not references.issuperset(event.get("destinationReferences", ())):
        return "destinationReferences", "INVALID_FORMAT", "names no destination of the request"
    if "conversionValue" in event and "currency" not in event:
        return "currency", "REQUIRED_FIELD_MISSING", "is required with a value"
    identifiers = event.get("userData", {}).get("userIdentifiers", [])
    if len(identifiers) > MAX_IDENTIFIERS:
        return "userData", "TOO_MANY_USER_IDENTIFIERS", "holds too many identifiers"
    if any(len(identifier) != 1 for identifier in identifiers):
        return "userData", "INVALID_FORMAT", "holds an identifier that is not exactly one"
    if any(set(one["address"]) != set(ADDRESS) for one in identifiers if "address" in one):
        return "userData", "REQUIRED_FIELD_MISSING", "holds an incomplete address"
    clicks = event.get("adIdentifiers", {})
    if not identifiers and not clicks.keys() & {"gclid", "gbraid", "wbraid", "leadId", "mobileDeviceId"}:
        return "userData", "NO_IDENTIFIERS_PROVIDED", "an identifier is required"
    if {"gbraid", "wbraid"} <= clicks.keys():
        return "adIdentifiers", "INVALID_FORMAT", "holds both gbraid and wbraid"
    if event.get("transactionId", "").startswith("POISON-GOOGLE"):
        return "transactionId", "INVALID_FORMAT", "is invalid"
    return None


def _check_body(body: Any) -> str | None:
    """What is wrong with the envelope."""
    if type(body) is not dict or body.keys() - BODY:
        return "the body holds an unknown field, or is no object"
    destinations, events = body.get("destinations"), body.get("events")
    if type(destinations) is not list or not 1 <= len(destinations) <= MAX_DESTINATIONS:
        return f"destinations must hold 1 to {MAX_DESTINATIONS}"
    wrong = c.listed(DESTINATION, closed=True)(destinations)
    if wrong is not None:
        return f"destinations{wrong}"
    if any("operatingAccount" not in one or "productDestinationId" not in one for one in destinations):
        return "a destination lacks operatingAccount or productDestinationId"
    references = [one.get("reference") for one in destinations]
    if len(set(references)) != len(references):
        return "DUPLICATE_DESTINATION_REFERENCE"
    if type(events) is not list or not 1 <= len(events) <= MAX_EVENTS:
        return f"events must hold 1 to {MAX_EVENTS}"
    if body.get("encoding") != "HEX":
        return "encoding must be HEX or BASE64; this pretend platform reads HEX only"
    return None if type(body.get("validateOnly", False)) is bool else "validateOnly must be true or false"


def _answer(side: GoogleSide, call: Call) -> Answer:
    token = bearer(call.headers)
    if token is None or not side.is_good(token, call.now):
        return Answer(error("token_missing" if token is None else "token_dead", call.trace, {}))
    spent = side.spend(call.now)
    if spent is not None:
        return Answer(error("throttled", call.trace, {"quota_limit": spent}))
    wrong = _check_body(call.payload)
    if wrong is not None:
        return Answer(error("refused", call.trace, {"message": wrong}))
    body = call.payload
    references = {one.get("reference", ""): one for one in body["destinations"]}
    violations = []
    for index, event in enumerate(body["events"]):
        problem = check_event(event, call.now, frozenset(references))
        if problem is not None:
            violations.append(_violation(index, *problem, blame=call.blame))
    if violations:
        return Answer(error("refused", call.trace, {"violations": violations}))
    if body.get("validateOnly"):
        return Answer(Reply(200, {"requestId": f"validated-{call.trace}"}), _arrivals(body, references, True))
    side.remember(call.trace, body, call.now)
    return Answer(Reply(200, {"requestId": call.trace}), _arrivals(body, references, False))


def _violation(index: int, field: str, reason: str, words: str, *, blame: bool) -> dict[str, str]:
    """Seen in a public thread: snake_case, with the index of the event; `blame` leaves that out when false."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", field).lower()
    path = f"events.events[{index}].{snake}" if blame else f"events.{snake}"
    return {"field": path.rstrip("."), "description": words, "reason": reason}


def _arrivals(body: Mapping[str, Any], references: Mapping[str, Any], is_test: bool) -> list[Arrival]:
    found = []
    for event in body["events"]:
        for reference in event.get("destinationReferences") or references:
            action = references[reference]["productDestinationId"]
            copy = Copy(
                action,
                action,
                event.get("transactionId"),
                "server",
                event.get("transactionId"),
                c.amount(event.get("conversionValue")),
                event.get("currency"),
                event["eventSource"] in NOT_ADJUSTED,
                "validateOnly" if is_test else None,
                not is_test,
            )
            found.append(Arrival(copy, event, seconds(event["eventTimestamp"]) or 0.0, ()))
    return found


_ERRORS: dict[ErrorKind, tuple[int, str, str]] = {
    "token_missing": (401, "UNAUTHENTICATED", "Request is missing required authentication credential."),
    "token_dead": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "throttled": (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
    "failed": (500, "INTERNAL", "Internal error encountered."),
    "refused": (400, "INVALID_ARGUMENT", "There was a problem with the request."),
    "not_found": (404, "NOT_FOUND", "Method not found."),
    "too_large": (413, "INVALID_ARGUMENT", "Request payload size exceeds the limit."),
}


def error(kind: ErrorKind, trace: str, options: Mapping[str, Any]) -> Reply:
    """Google's error body with typed details (ERR); `violations` fill BadRequest, `quota_limit` ErrorInfo."""
    status, code, message = _ERRORS[kind]
    status = options.get("status", status)
    info: dict[str, Any] = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "datamanager.googleapis.com"}
    info["reason"] = "RATE_LIMIT_EXCEEDED" if kind == "throttled" else code
    if kind == "throttled":
        info["metadata"] = {"quota_limit": options.get("quota_limit", "IngestionMutateRequestsPerMinutePerProject")}
    details = [info]
    if options.get("violations"):
        violations = options["violations"]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    details.append({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": trace})
    body = {"code": status, "message": options.get("message", message), "status": code, "details": details}
    return Reply(status, {"error": body})


def label(event: Mapping[str, Any]) -> Label:
    """What a fault script may match: the transaction id, as event id and as order id; there is no event name."""
    references = event.get("destinationReferences")
    name = references[0] if type(references) is list and references else None
    return Label(name, event.get("transactionId"), event.get("transactionId"))


def account_of(payload: Any) -> str:
    """The operating account of a request's first destination."""
    try:
        return str(payload["destinations"][0]["operatingAccount"]["accountId"])
    except (KeyError, IndexError, TypeError):
        return ""


def google(side: GoogleSide) -> Platform:
    """The platform, with the tokens, the quota and the memory of one sandbox."""
    return Platform(
        name="google",
        path=re.compile(r"/v1/events:ingest"),
        owns=re.compile(r"/v1/events.*"),
        token=lambda call: bearer(call.headers),
        answer=lambda call: _answer(side, call),
        error=error,
        label=label,
        decode=decode_json,
        account_of=account_of,
    )
