"""Pinterest's API for Conversions as its pages describe it: POST /v5/ad_accounts/{id}/events.

Sources (read 2026-11): github.com/pinterest/api-description, the official v5 OpenAPI file, 5.23.0 (SPEC);
developers.pinterest.com/docs/track-conversions/track-conversions-in-the-api (GUIDE, read second-hand);
developers.pinterest.com/docs/reference/rate-limits (RATE, read second-hand).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.sandbox import checks as c
from app.sandbox.base import (
    Answer,
    Arrival,
    Call,
    ErrorKind,
    Label,
    Platform,
    Reply,
    bearer,
    decode_json,
    label_of,
)
from app.sandbox.counting import Copy

MAX_EVENTS = 1000  # documented: SPEC
MAX_TEST_EVENTS = 20  # documented, second-hand: RATE, GUIDE; more are answered but not processed
MAX_AGE_S = 7 * c.DAY_S  # seen in peers' code; that it holds for offline is inferred
AHEAD_S = 300  # inferred

KNOWN_EVENTS = frozenset(  # documented: SPEC; the second half second-hand: GUIDE
    """
    add_payment_info add_to_cart add_to_wishlist app_install checkout custom initiate_checkout lead
    page_visit search signup subscribe view_category view_content watch_video app_open contact
    customize_product find_location schedule start_trial submit_application
    """.split()
)
_text = c.nullable(c.string)

ROOT: dict[str, c.Check] = {"data": lambda v: None if type(v) is list else "is not of type 'array'"}
EVENT: dict[str, c.Check] = {  # documented: SPEC; closed, null only where it says so
    "event_name": c.text,
    "action_source": c.one_of("app_android", "app_ios", "web", "offline"),
    "event_time": c.integer,
    "event_id": c.text,
    "user_data": c.obj,
    "event_source_url": _text,
    "opt_out": c.boolean,
    "partner_name": _text,
    "custom_data": c.obj,
    "language": _text,
    "wifi": c.boolean,
    **dict.fromkeys(["app_id", "app_name", "app_version", "device_brand", "device_carrier"], _text),
    **dict.fromkeys(["device_model", "device_type", "os_version"], _text),
    "app_info": c.obj,
    "device_info": c.obj,
}
_HASHED = ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id", "hashed_maids")
USER: dict[str, c.Check] = {  # documented: SPEC; the one open object
    **dict.fromkeys(_HASHED, c.strings),
    "client_ip_address": c.string,
    "client_user_agent": c.string,
    "click_id": _text,
    "partner_id": _text,
    "customer_type": c.one_of("new", "returning"),
}
_ITEM: dict[str, c.Check] = {
    **dict.fromkeys(["id", "item_name", "item_category", "item_brand", "item_price"], c.string),
    "quantity": c.integer,
}
CUSTOM: dict[str, c.Check] = {  # documented: SPEC; closed, amounts are strings
    "value": _text,
    "currency": _text,
    "content_ids": c.strings,
    "contents": c.listed(_ITEM, closed=True),
    "num_items": c.integer,
    "order_id": c.string,
    "search_string": c.string,
    **dict.fromkeys(["content_name", "content_category", "content_brand", "opt_out_type"], _text),
    "predicted_ltv": c.string,
    "np": c.string,
    "external_measurement_id": c.string,
    "external_measurement_vendor_id": c.integer,
}
APP_INFO: dict[str, c.Check] = {  # documented: SPEC; closed
    "app_id": c.at_most(200),
    "app_name": c.string,
    "app_package_name": c.string,
    "app_store": c.at_most(100),
    "app_version": c.at_most(100),
    "install_time": c.integer,
    "user_agent": c.at_most(16384),
    "window_height": c.integer,
    "window_width": c.integer,
}
_FORMS = ["desktop", "laptop", "cellphone", "tablet", "smartwatch", "tv", "vr", "console", "other"]
_NETWORKS = ["wifi", *(f"cellular_{n}g" for n in range(2, 7)), "ethernet", "unknown"]
DEVICE_INFO: dict[str, c.Check] = {  # documented: SPEC; closed there, its plain fields are not all listed here
    "form_factor": c.one_of(*_FORMS),
    "network_type": c.one_of(*_NETWORKS),
    "os_family": c.one_of("ios", "android", "macos", "windows", "linux", "bsd", "other"),
}
_CLOSED = {"custom_data": CUSTOM, "app_info": APP_INFO}


def check_schema(event: Any, unknown: list[str]) -> c.Problem | None:
    """The first breach of the schema; it fails the whole request, unprocessed (documented: SPEC)."""
    if type(event) is not dict:
        return c.Problem("data", "is not of type 'object'", event)
    names = ("event_name", "action_source", "event_time", "event_id", "user_data")
    extra: list[str] = []
    problem = c.missing(names, event) or c.fields(EVENT, event, "", extra)
    for part, table in _CLOSED.items():
        if problem is None and part in event:
            problem = c.fields(table, event[part], part + ".", extra)
    if problem is not None:
        return problem
    if extra:
        return c.Problem(extra[0], "Additional properties are not allowed")
    user = event["user_data"]
    problem = c.fields(USER, user, "user_data.", unknown)
    if problem is None and "device_info" in event:
        problem = c.fields(DEVICE_INFO, event["device_info"], "device_info.", unknown)
    if problem is not None:
        return problem
    if user.get("em") or user.get("hashed_maids"):
        return None
    if user.get("client_ip_address") and user.get("client_user_agent"):
        return None
    return c.Problem("user_data", "is not valid under any of the given schemas")


def check_meaning(event: dict[str, Any], now: float) -> str | None:
    """Why one event of a valid request is `failed`.

    An old time is seen in peers' code; a value that is no number is documented (GUIDE); that an address or a
    digest of the wrong shape fails is inferred, as the schema takes any string.
    """
    side = c.age(event["event_time"], now, MAX_AGE_S, AHEAD_S)
    if side is not None:
        what = "in the past" if side == "old" else "in the future"
        return f"Invalid event_timestamp parameter: given timestamp is {what}"
    user, custom = event["user_data"], event.get("custom_data") or {}
    for name in _HASHED:
        values = user.get(name)
        if values and c.hashed_list(values):
            return f"Invalid user_data.{name} parameter: {str(values[0])[:200]}"
    address = user.get("client_ip_address")
    if address is not None and c.ip(address):
        return f"Invalid user_data.client_ip_address parameter: {address[:200]}"
    agent = user.get("client_user_agent")
    if agent is not None and c.plain(agent):
        return "Invalid user_data.client_user_agent parameter"
    click = user.get("click_id")
    if click is not None and c.plain(click):
        return "Invalid user_data.click_id parameter"
    if custom.get("value") is not None and c.decimal_text(custom["value"]):
        return f"Invalid custom_data.value parameter: {custom['value'][:200]}"
    if custom.get("currency") is not None and c.currency(custom["currency"]):
        return "Invalid custom_data.currency parameter"
    order = custom.get("order_id", "")
    return f"Invalid custom_data.order_id parameter: {order[:200]}" if order.startswith("POISON-PINTEREST") else None


def _warning(event: dict[str, Any]) -> str:
    if event["event_name"] not in KNOWN_EVENTS:  # measured by others: processed, with a warning
        return "event_name is not recognized"
    for name in ("external_id", "click_id"):  # measured by others
        if not event["user_data"].get(name):
            return f"{name} is missing"
    return ""


def _arrival(account: str, event: dict[str, Any], test: bool, unknown: list[str]) -> Arrival:
    custom = event.get("custom_data") or {}
    copy = Copy(
        account,
        event["event_name"],
        event["event_id"],
        "server",
        custom.get("order_id") or None,
        c.amount(custom.get("value")),
        (custom.get("currency") or "").upper() or None,
        event["action_source"] == "offline",
        "test" if test else None,
        not test,  # documented: SPEC; ?test=true is not recorded
    )
    return Arrival(copy, event, event["event_time"], tuple(unknown))


def answer(call: Call) -> Answer:
    """Pinterest's reply: 400 for a breach of the schema, else 200 with a status per event (GUIDE)."""
    token = token_of(call)
    if token is None or token.startswith("DEAD"):
        return Answer(error("token_missing" if token is None else "token_dead", call.trace, {}))
    body, extra = call.payload, list[str]()
    if type(body) is not dict:
        return _refuse(call, c.Problem("body", "is not valid JSON"))
    problem = c.missing(("data",), body) or c.fields(ROOT, body, "", extra)
    if problem is None and extra:
        problem = c.Problem(extra[0], "Additional properties are not allowed")
    if problem is None and not 1 <= len(body["data"]) <= MAX_EVENTS:
        problem = c.Problem("data", f"must hold 1 to {MAX_EVENTS} items")
    if problem is not None:
        return _refuse(call, problem)
    ignored: list[list[str]] = []
    for index, event in enumerate(body["data"]):
        ignored.append([])
        problem = check_schema(event, ignored[-1])
        if problem is not None:
            at = f"data[{index}].{problem.where}" if call.blame else problem.where
            return _refuse(call, problem._replace(where=at))
    return _process(call, body["data"], ignored)


def _process(call: Call, data: list[dict[str, Any]], ignored: list[list[str]]) -> Answer:
    test = call.query.get("test", "").lower() == "true"
    results, arrivals, processed = [], [], 0
    for index, event in enumerate(data):
        wrong = check_meaning(event, call.now)
        if wrong is None and index in call.failing:
            wrong = "Event could not be processed"
        if wrong is not None:
            results.append({"status": "failed", "error_message": wrong, "warning_message": ""})
            continue
        processed += 1
        results.append({"status": "processed", "error_message": "", "warning_message": _warning(event)})
        if not test or index < MAX_TEST_EVENTS:
            arrivals.append(_arrival(call.account, event, test, ignored[index]))
    counters = {"num_events_received": len(data), "num_events_processed": processed, "events": results}
    return Answer(Reply(200, counters, {"x-pinterest-rid": call.trace}), arrivals)


def as_detailed_error(reply: Reply) -> Reply:
    """The same counters as HTTP 422, code 953 (documented: SPEC; the body seen in a public pull request)."""
    body = {"code": 953, "message": "Not all events were processed", "details": reply.body}
    return Reply(422, body, reply.headers)


def _refuse(call: Call, problem: c.Problem) -> Answer:
    message = f"Invalid request: '{problem.where}' {problem.what}"
    return Answer(error("refused", call.trace, {"message": message}))


def token_of(call: Call) -> str | None:
    """The Bearer token (documented: SPEC)."""
    return bearer(call.headers)


# Statuses and codes are documented (SPEC) but for the codes of 404, 413 and 500, which are inferred.
_ERRORS: dict[ErrorKind, tuple[int, int, str]] = {
    "token_missing": (401, 2, "Authentication failed."),
    "token_dead": (401, 2, "Authentication failed."),
    "throttled": (429, 8, "You have exceeded your rate limit. Try again later."),
    "failed": (500, 0, "An unexpected error occurred."),
    "refused": (400, 1, "Invalid request."),
    "not_found": (404, 0, "Not found."),
    "too_large": (413, 0, "Request body is too large."),
}


def error(kind: ErrorKind, trace: str, options: Mapping[str, Any]) -> Reply:
    """Pinterest's error body, `{code, message}`."""
    status, code, message = _ERRORS[kind]
    status = options.get("status", status)
    if kind == "failed" and status == 503:
        code = 4197  # documented: SPEC; the endpoint is ramped down
    body = {"code": options.get("code", code), "message": options.get("message", message)}
    return Reply(status, body, {"x-pinterest-rid": trace})


def label(event: Mapping[str, Any]) -> Label:
    """What a fault script may match."""
    return label_of(event, "event_name", "custom_data")


PINTEREST = Platform(
    name="pinterest",
    path=re.compile(r"/v5/ad_accounts/(?P<account>\d{1,18})/events"),
    owns=re.compile(r"/v5(/.*)?"),
    token=token_of,
    answer=answer,
    error=error,
    label=label,
    decode=decode_json,
    per_event=True,
)
