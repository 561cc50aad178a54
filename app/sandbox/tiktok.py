"""TikTok's Events API 2.0 as its pages describe it: POST /open_api/v1.3/event/track/.

Sources (read 2026-11, under business-api.tiktok.com/portal/docs): id 1771101303285761 "Report events" (API),
parameters/v1.3 (PARAM, read second-hand), id 1771101186666498 supported events (EVENTS), id 1771100984456193
test events (TEST), responses-and-errors (RESP), rate-limits/v1.3 (RATE, read second-hand); code names from
the official SDK's source (CODES).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.sandbox import checks as c
from app.sandbox.base import Answer, Arrival, Call, ErrorKind, Label, Platform, Reply, decode_json, label_of
from app.sandbox.counting import Copy

MAX_EVENTS = 1000  # documented: API; more rejects the whole request
MAX_AGE_S = 7 * c.DAY_S  # inferred; the page names no limit
MAX_AGE_OFFLINE_S = 28 * c.DAY_S  # seen in a peer's documentation
AHEAD_S = 300  # inferred

BAD_PARAMETERS, BAD_BATCH_SIZE = 40002, 40061  # 40002 documented: RESP; 40061 from CODES

STANDARD_EVENTS = frozenset(  # documented: EVENTS
    """
    AddPaymentInfo AddToCart AddToWishlist ApplicationApproval CompleteRegistration Contact
    CustomizeProduct Download FindLocation InitiateCheckout Lead Purchase Schedule Search StartTrial
    SubmitApplication Subscribe ViewContent
    """.split()
)
ATT = ("AUTHORIZED", "DENIED", "NOT_DETERMINED", "RESTRICTED", "NOT_APPLICABLE")

EVENT: dict[str, c.Check] = {  # documented: API; unknown keys are accepted silently (measured by others)
    "event": c.text,
    "event_time": c.integer,
    "event_id": c.text,  # a number is refused (seen in a public issue)
    "user": c.obj,
    "properties": c.obj,
    "page": c.obj,
    "limited_data_use": c.boolean,
    "app": c.obj,
    "ad": c.obj,
    "lead": c.obj,
}
USER: dict[str, c.Check] = {  # documented: API; names and address: PARAM
    **dict.fromkeys(["email", "phone", "external_id"], c.hashed),
    **dict.fromkeys(["first_name", "last_name", "zip_code"], c.hashed),
    **dict.fromkeys(["city", "state", "country"], c.plain),
    "ttclid": lambda v: c.plain(v) or c.at_most(1000)(v),
    "ttp": c.plain,
    "ip": c.ip,
    "user_agent": c.plain,
    "locale": c.plain,
    "idfa": c.text,  # raw or SHA-256
    "gaid": c.text,  # raw or SHA-256
    "idfv": c.plain,
    "att_status": c.one_of(*ATT),
}
_ITEM: dict[str, c.Check] = {
    **dict.fromkeys(["content_id", "content_name", "content_category", "brand"], c.string),
    "price": c.number,
    "quantity": c.integer,
}
PROPERTIES: dict[str, c.Check] = {  # documented: API; what becomes of an unlisted currency is not
    "currency": c.currency,
    "value": c.number,
    "contents": c.listed(_ITEM),
    "content_ids": c.strings,
    "content_type": c.one_of("product", "product_group"),
    "num_items": c.integer,
    "customer_type": c.one_of("new", "returning"),
    **dict.fromkeys(["order_id", "shop_id", "search_string", "query", "description"], c.string),
}
PAGE: dict[str, c.Check] = {"url": c.url, "referrer": c.string}
APP: dict[str, c.Check] = dict.fromkeys(["app_id", "app_name", "app_version"], c.string)
AD: dict[str, c.Check] = {  # documented: API
    **dict.fromkeys(["callback", "campaign_id", "ad_id", "creative_id"], c.string),
    **dict.fromkeys(["attribution_type", "attribution_provider"], c.string),
    **dict.fromkeys(["is_retargeting", "attributed"], c.boolean),
    "attribution_share": lambda v: c.number(v) or (None if 0 <= v <= 1 else "must lie between 0 and 1"),
}
LEAD: dict[str, c.Check] = dict.fromkeys(["lead_id", "lead_event_source"], c.string)
_PARTS = {"user": USER, "properties": PROPERTIES, "page": PAGE, "app": APP, "lead": LEAD, "ad": AD}
_NEEDED = {"web": ("page", "url"), "app": ("app", "app_id"), "crm": ("lead", "lead_id")}  # documented: API


def check_event(event: Any, source: str, now: float, unknown: list[str]) -> c.Problem | None:
    """The first rule that an event breaks; keys that TikTok ignores are appended to `unknown`."""
    if type(event) is not dict:
        return c.Problem("", "must be an object", event)
    problem = c.missing(("event", "event_time"), event) or c.fields(EVENT, event, "", unknown)
    if problem is not None:
        return problem
    for part, table in _PARTS.items():
        value = event.get(part)
        problem = None if value is None else c.fields(table, value, part + ".", unknown)
        if problem is not None:
            return problem
    needed = _NEEDED.get(source)
    if needed is not None:
        part, name = needed
        problem = c.missing((name,), event.get(part) or {}, part + ".")
        if problem is not None:
            return problem
    if source == "offline" and event["event"] not in STANDARD_EVENTS:
        return c.Problem("event", "must be a standard event", event["event"])
    limit_s = MAX_AGE_OFFLINE_S if source == "offline" else MAX_AGE_S
    side = c.age(event["event_time"], now, limit_s, AHEAD_S)
    if side is not None:
        return c.Problem("event_time", f"is too {side}", event["event_time"])
    order = (event.get("properties") or {}).get("order_id", "")
    return c.Problem("properties.order_id", "is not valid", order) if order.startswith("POISON-TIKTOK") else None


def _arrival(account: str, source: str, event: dict[str, Any], test: str | None, unknown: list[str]) -> Arrival:
    properties = event.get("properties") or {}
    ttp = (event.get("user") or {}).get("ttp")
    copy = Copy(
        account,
        event["event"],
        event.get("event_id"),
        "server",
        properties.get("order_id") or None,
        c.amount(properties.get("value")),
        properties.get("currency", "").upper() or None,
        source == "offline",
        test,
        test is None,  # measured by others: test events are kept out of real data
        (ttp,) if ttp else (),
    )
    return Arrival(copy, event, event["event_time"], tuple(unknown))


def answer(call: Call) -> Answer:
    """TikTok's reply: code 0 for all of the batch, or one error code for all of it (seen in peers' code)."""
    token = token_of(call)
    if token is None or token.startswith("DEAD"):
        return Answer(error("token_missing" if token is None else "token_dead", call.trace, {}))
    code, message, arrivals = _take(call)
    if code:
        return Answer(error("refused", call.trace, {"code": code, "message": message}))
    return Answer(_reply(200, 0, "OK", call.trace), arrivals)


def _take(call: Call) -> tuple[int, str, list[Arrival]]:
    body = call.payload
    if type(body) is not dict:
        return BAD_PARAMETERS, "Request body is not a valid JSON object.", []
    root = c.fields(ROOT, body, "", []) or c.missing(("event_source", "event_source_id", "data"), body)
    if root is not None:
        return BAD_PARAMETERS, f"{root.where}: {root.what}", []
    data, source = body["data"], body["event_source"]
    if not 1 <= len(data) <= MAX_EVENTS:
        return BAD_BATCH_SIZE, f"data: must hold 1 to {MAX_EVENTS} events", []
    test, arrivals = body.get("test_event_code"), []
    for index, event in enumerate(data):
        unknown: list[str] = []
        problem = check_event(event, source, call.now, unknown)
        if problem is not None:  # names the first bad event and echoes its value (seen in peers' code)
            at = f"Batch.{index}.{problem.where}" if call.blame else problem.where
            return BAD_PARAMETERS, f"{at}: {problem.what}, got {str(problem.value)[:200]!r}", []
        arrivals.append(_arrival(call.account, source, event, test, unknown))
    return 0, "OK", arrivals


ROOT: dict[str, c.Check] = {  # documented: API; test_event_code: TEST
    "event_source": c.one_of("web", "app", "offline", "crm"),
    "event_source_id": c.text,
    "data": lambda v: None if type(v) is list else "must be a list",
    "test_event_code": c.text,
    "partner_name": c.string,
}


def token_of(call: Call) -> str | None:
    """The token of the `Access-Token` header, the only place for it (documented)."""
    return call.headers.get("access-token") or None


def _reply(status: int, code: int, message: str, trace: str) -> Reply:
    body = {"code": code, "message": message, "request_id": trace, "data": {}}
    return Reply(status, body, {"x-tt-logid": trace})


# Most failures come as HTTP 200 (documented: RESP), 40104 and 40100 as 401 (documented, second-hand: RATE);
# the other statuses are inferred.
_ERRORS: dict[ErrorKind, tuple[int, int, str]] = {
    "token_missing": (401, 40104, "Access token is null."),
    "token_dead": (401, 40105, "Access token is incorrect or has been revoked."),
    "throttled": (401, 40100, "Too many requests. Please retry in some time."),
    "failed": (500, 50000, "System error."),
    "refused": (200, BAD_PARAMETERS, "Invalid parameters."),
    "not_found": (404, 40400, "Path not found."),
    "too_large": (413, BAD_PARAMETERS, "Request body is too large."),
}


def error(kind: ErrorKind, trace: str, options: Mapping[str, Any]) -> Reply:
    """TikTok's error body: the code decides, not the HTTP status (documented: RESP)."""
    status, code, message = _ERRORS[kind]
    shown = options.get("message", message)
    return _reply(options.get("status", status), options.get("code", code), shown, trace)


def label(event: Mapping[str, Any]) -> Label:
    """What a fault script may match."""
    return label_of(event, "event", "properties")


TIKTOK = Platform(
    name="tiktok",
    path=re.compile(r"/open_api/v1\.3/event/track/"),
    owns=re.compile(r"/open_api(/.*)?"),
    token=token_of,
    answer=answer,
    error=error,
    label=label,
    decode=decode_json,
    account_of=lambda payload: str(payload.get("event_source_id", "")) if type(payload) is dict else "",
)
