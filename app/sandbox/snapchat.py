"""Snapchat's Conversions API v3 as its pages describe it: POST /v3/{asset}/events and /validate.

Sources (read 2026-11, under developers.snap.com/marketing-api/Conversions-API): UsingTheAPI (USING),
Parameters (PARAM), OfflineEvents (OFFLINE) and GetStarted (START), these three read second-hand, VerifySetUp
(VERIFY); reply shapes from the OpenAPI description in the official Java SDK (SDK).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.sandbox import checks as c
from app.sandbox.base import Answer, Arrival, Call, ErrorKind, Label, Platform, Reply, decode_json, label_of
from app.sandbox.counting import Copy

MAX_EVENTS = 2000  # documented, second-hand: START
MAX_AGE_S = 7 * c.DAY_S  # documented, second-hand: PARAM
MAX_AGE_OFFLINE_S = 28 * c.DAY_S  # inferred from the attribution window
AHEAD_S = 300  # inferred
SAMPLE_CODE = "517"  # the one code that the SDK's sample shows; there is no public list

EVENTS = frozenset(  # documented, second-hand: PARAM; case as written is inferred
    """
    PURCHASE SAVE START_CHECKOUT ADD_CART VIEW_CONTENT ADD_BILLING SIGN_UP SEARCH PAGE_VIEW SUBSCRIBE
    AD_CLICK AD_VIEW COMPLETE_TUTORIAL LEVEL_COMPLETE INVITE LOGIN SHARE RESERVE ACHIEVEMENT_UNLOCKED
    ADD_TO_WISHLIST SPENT_CREDITS RATE START_TRIAL LIST_VIEW APP_INSTALL APP_OPEN CUSTOM_EVENT_1
    CUSTOM_EVENT_2 CUSTOM_EVENT_3 CUSTOM_EVENT_4 CUSTOM_EVENT_5
    """.split()
)
# documented, second-hand: OFFLINE; `website` and `app` are refused (seen in a public pull request)
OFFLINE_SOURCES = frozenset(["OFFLINE", "physical_store", "phone_call", "phone", "email", "chat", "system_generated"])
EVENT: dict[str, c.Check] = {  # documented: USING, PARAM; unknown keys are ignored (inferred)
    "event_name": c.one_of(*EVENTS),
    "event_time": c.integer,
    "action_source": c.one_of("WEB", "MOBILE_APP", *OFFLINE_SOURCES),
    "user_data": c.obj,
    "event_source_url": c.url,
    "event_id": c.text,
    "custom_data": c.obj,
    "app_data": c.obj,
    "data_processing_options": lambda v: (
        c.strings(v) or (None if set(v) <= {"LMU", "DELETE"} else "must hold LMU or DELETE")
    ),
    "integration": c.string,
    "test_event_code": c.string,
}
_PLAIN = ["client_user_agent", "sc_click_id", "sc_cookie1", "madid", "idfv", "anon_id", "download_id"]
_PLAIN += ["subscription_id", "lead_id", "partner_id"]
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
USER: dict[str, c.Check] = {  # documented: USING; partly second-hand: PARAM
    **dict.fromkeys(["em", "ph", "fn", "ln", "ge", "ct", "st", "zp", "country"], c.hashed),
    "external_id": c.string_or_strings,
    "client_ip_address": c.ip,
    **dict.fromkeys(_PLAIN, c.plain),
    **dict.fromkeys(["madid", "idfv"], c.shaped(_UUID, "must be a lower-case id with hyphens")),
}
_ITEM: dict[str, c.Check] = {  # documented samples and the SDK differ on text or number
    "id": c.string,
    "quantity": c.number_or_text,
    "item_price": c.number_or_text,
    "brand": c.string,
    "delivery_category": c.one_of("in_store", "curbside", "home_delivery"),
}


def _flat(value: Any) -> str | None:
    if type(value) is dict and all(type(v) in (str, int, float, bool) for v in value.values()):
        return None
    return "must be a flat object"


CUSTOM: dict[str, c.Check] = {  # documented: USING; partly second-hand: PARAM
    "currency": c.currency,
    "value": c.number_or_text,
    "order_id": c.text,
    "content_ids": c.strings,
    "content_type": c.one_of("product", "product_group"),
    "content_category": c.string_or_strings,
    **dict.fromkeys(["content_name", "search_string", "status", "sign_up_method", "event_tag"], c.string),
    "contents": c.listed(_ITEM),
    "delivery_category": c.one_of("in_store", "curbside", "home_delivery"),
    "num_items": lambda v: c.integer(v) if type(v) is not str or not v.isdigit() else None,
    "predicted_ltv": c.number,
    "brands": c.string_or_strings,
    "custom_fields": _flat,
    **dict.fromkeys(["checkin_date", "travel_start", "travel_end"], c.string),  # travel: from the official SDK
    **dict.fromkeys(["departing_departure_date", "departing_arrival_date"], c.string),
    **dict.fromkeys(["returning_departure_date", "returning_arrival_date"], c.string),
    **dict.fromkeys(["destination_airport", "origin_airport", "country", "region", "city"], c.string),
    **dict.fromkeys(["neighborhood", "postal_code"], c.string),
    **dict.fromkeys(["preferred_neighborhoods", "preferred_star_ratings"], c.string_or_strings),
    **dict.fromkeys(["num_adults", "num_children", "num_infants"], c.integer),
    **dict.fromkeys(["suggested_destinations", "suggested_hotels"], c.string_or_strings),
    "hotel_score": c.number,
}
APP_DATA: dict[str, c.Check] = {
    "app_id": c.text,
    "advertiser_tracking_enabled": lambda v: None if v in (0, 1) else "must be 0 or 1",
    "extinfo": lambda v: (
        c.strings(v) or (None if len(v) == 16 and v[0] in ("a2", "i2") else "must hold 16 strings, the first a2 or i2")
    ),
    "url_schemes": c.strings,
    **dict.fromkeys(["campaign_ids", "install_referrer", "installer_package", "windows_attribution_id"], c.string),
}


def seconds(event_time: int) -> float:
    """The instant in seconds: numbers from 1e12 on are milliseconds (documented, second-hand)."""
    return event_time / 1000 if event_time >= 1_000_000_000_000 else event_time


def check_event(event: Any, now: float, unknown: list[str]) -> c.Problem | None:
    """The first rule that an event breaks; keys that Snapchat ignores are appended to `unknown`."""
    if type(event) is not dict:
        return c.Problem("data", "must hold objects", event)
    names = ("event_name", "event_time", "action_source", "user_data")
    problem = c.missing(names, event) or c.fields(EVENT, event, "", unknown)
    if problem is not None:
        return problem
    user, source, custom = event["user_data"], event["action_source"], event.get("custom_data")
    problem = c.fields(USER, user, "user_data.", unknown)
    if problem is None and custom is not None:
        problem = c.fields(CUSTOM, custom, "custom_data.", unknown)
    if problem is None and source == "WEB":  # documented: USING
        problem = c.missing(("event_source_url",), event)
    if problem is None and source == "MOBILE_APP":  # documented: USING
        app = event.get("app_data") or {}
        problem = c.missing(("app_id",), app, "app_data.") or c.fields(APP_DATA, app, "app_data.", unknown)
    if problem is None and event["event_name"] == "PURCHASE":  # documented: USING, VERIFY
        problem = c.missing(("currency", "value"), custom or {}, "custom_data.")
    if problem is not None:
        return problem
    if not _has_identifier(user, source):  # documented: USING
        return c.Problem("user_data", "holds too few identifiers")
    limit_s = MAX_AGE_OFFLINE_S if source in OFFLINE_SOURCES else MAX_AGE_S
    side = c.age(seconds(event["event_time"]), now, limit_s, AHEAD_S)
    if side is not None:
        return c.Problem("event_time", f"is too {side}", event["event_time"])
    order = (custom or {}).get("order_id", "")
    return c.Problem("custom_data.order_id", "is invalid") if order.startswith("POISON-SNAPCHAT") else None


def _has_identifier(user: dict[str, Any], source: str) -> bool:
    if user.get("em") or user.get("ph"):
        return True
    if user.get("client_ip_address") and user.get("client_user_agent"):
        return True
    return source == "MOBILE_APP" and bool(user.get("madid"))


def _arrival(account: str, event: dict[str, Any], test: bool, unknown: list[str]) -> Arrival:
    custom = event.get("custom_data") or {}
    copy = Copy(
        account,
        event["event_name"],
        event.get("event_id"),
        "server",
        custom.get("order_id"),
        c.amount(custom.get("value")),
        custom.get("currency", "").upper() or None,
        event["action_source"] in OFFLINE_SOURCES,
        "test" if test else None,
        not test,  # documented: VERIFY; /validate records no conversion
    )
    return Arrival(copy, event, seconds(event["event_time"]), tuple(unknown))


def answer(call: Call) -> Answer:
    """Snapchat's reply: VALID or INVALID for all of the batch (inferred from the SDK's schema)."""
    token = token_of(call)
    if token is None or token.startswith("DEAD"):
        return Answer(error("token_missing" if token is None else "token_dead", call.trace, {}))
    body = call.payload
    data = body.get("data") if type(body) is dict else None
    if type(data) is not list or not 1 <= len(data) <= MAX_EVENTS:
        message = f"data must be a list of 1 to {MAX_EVENTS} events"
        return Answer(error("refused", call.trace, {"message": message}))
    test, arrivals = call.mode == "validate", []
    problems: list[tuple[int, str]] = []
    for index, event in enumerate(data):
        unknown: list[str] = []
        problem = check_event(event, call.now, unknown)
        if problem is None:
            arrivals.append(_arrival(call.account, event, test, unknown))
        else:
            problems.append((index, f"{problem.where} {problem.what}"))
            if not test:
                break
    if problems:
        return Answer(_validation(call, problems) if test else _refusal(call, problems[0]))
    body_out = {"status": "VALID", "reason": "Events have been processed successfully."}
    return Answer(Reply(200, body_out, {"x-request-id": call.trace}), arrivals)


def _refusal(call: Call, problem: tuple[int, str]) -> Reply:
    options: dict[str, Any] = {"message": problem[1]}
    if call.blame:
        options["event"] = problem[0] + 1  # that it counts from 1 is inferred from a peer's code
    return error("refused", call.trace, options)


def _validation(call: Call, problems: list[tuple[int, str]]) -> Reply:
    logs = [
        {
            "event": index + 1,
            "status": "INVALID",
            "errors": {"codes": [SAMPLE_CODE], "error_msgs": [message]},
            "warnings": [],
        }
        for index, message in problems
    ]
    body = {"status": "INVALID", "reason": "Some events are invalid.", "event_logs": logs}
    return Reply(400, body, {"x-request-id": call.trace})


def token_of(call: Call) -> str | None:
    """The token in the query (documented: USING); a header alone is not enough (seen in a public report)."""
    return call.query.get("access_token") or None


# Statuses are inferred and from peers' code: Snapchat publishes no table.
_ERRORS: dict[ErrorKind, tuple[int, str]] = {
    "token_missing": (401, "Access token is missing."),
    "token_dead": (401, "Access token is invalid."),
    "throttled": (429, "Too many requests."),
    "failed": (500, "Internal error."),
    "refused": (400, "Events could not be processed."),
    "not_found": (404, "Not found."),
    "too_large": (413, "Request body is too large."),
}


def error(kind: ErrorKind, trace: str, options: Mapping[str, Any]) -> Reply:
    """Snapchat's error body (shape from the SDK), without `event` unless the caller names it."""
    status, message = _ERRORS[kind]
    message = options.get("message", message)
    codes = [str(options.get("code", SAMPLE_CODE))]
    body: dict[str, Any] = {
        "status": "INVALID",
        "reason": message,
        "errors": {"codes": codes, "error_msgs": [message]},
    }
    if "event" in options:
        body["event"] = options["event"]
    return Reply(options.get("status", status), body, {"x-request-id": trace})


def label(event: Mapping[str, Any]) -> Label:
    """What a fault script may match."""
    return label_of(event, "event_name", "custom_data")


SNAPCHAT = Platform(
    name="snapchat",
    path=re.compile(r"/v3/(?P<account>[^/]+)/events(?:/(?P<mode>validate))?"),
    owns=re.compile(r"/v3(/.*)?"),
    token=token_of,
    answer=answer,
    error=error,
    label=label,
    decode=decode_json,
)
