"""Meta's Conversions API as its pages describe it: POST /v{version}/{pixel}/events.

Sources (read 2026-11, under developers.facebook.com/docs/marketing-api/conversions-api): using-the-api (USE),
parameters/server-event (SRV), parameters/customer-information-parameters (CIP), parameters/custom-data (CUS),
parameters/fbp-and-fbc (FBPC), offline-events (OFF), app-events (APP), business-messaging (MSG); and
docs/marketing-apis/data-processing-options (DPO), docs/graph-api/guides/error-handling (ERR).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import orjson

from app.sandbox import checks as c
from app.sandbox.base import (
    UNREADABLE,
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

MAX_EVENTS = 1000  # documented: USE
MAX_AGE_S = 7 * c.DAY_S  # documented: USE, SRV; one older event fails the whole request
MAX_AGE_STORE_S = 62 * c.DAY_S  # documented: OFF, for physical_store
AHEAD_S = 10  # that the future is refused was seen in a public thread; the tolerance is inferred

TOO_OLD, IN_FUTURE = 2804003, 2804004  # seen in peer code and public threads, as are the next ones
BAD_FBC, BAD_LEAD_ID, MISSING, WEAK, BAD_EXTINFO = 2804001, 2804036, 2804019, 2804050, 2804043
BAD_VALUE, BAD_CURRENCY, BAD_CUSTOM_DATA = 2804009, 2804008, 2804016  # weak evidence
BAD_MESSAGING_NAME = 2804066  # documented: MSG
MESSAGING_IDS: dict[str, dict[str, int]] = {  # documented: MSG; the subcodes partly seen in public threads
    "whatsapp": {"ctwa_clid": 2804087},
    "messenger": {"page_id": 2804069, "page_scoped_user_id": 2804069},
    "instagram": {"ig_account_id": 2804079, "ig_sid": 2804079},
}
UNEXPLAINED = 2804007  # seen in peer code, its meaning is not established

ACTION_SOURCES = frozenset(  # documented: SRV
    """
    email website app phone_call chat physical_store system_generated business_messaging other
    """.split()
)
MESSAGING_NAMES = frozenset(  # documented: MSG
    """
    Purchase LeadSubmitted InitiateCheckout AddToCart ViewContent OrderCreated OrderShipped
    OrderDelivered OrderCanceled OrderReturned CartAbandoned QualifiedLead RatingProvided ReviewProvided
    """.split()
)
_SEGMENTS = ["business", "business_line", "product_area", "medium"]
SEGMENTATION = c.one_of(  # documented: SRV
    *(f"new_customer_to_{s}" for s in _SEGMENTS),
    *(f"existing_customer_to_{s}" for s in _SEGMENTS),
    "customer_in_loyalty_program",
)
_STATES = (0, *range(1000, 1014))  # documented: DPO

EVENT: dict[str, c.Check] = {  # documented: SRV; a key outside it fails the call (seen in a public thread)
    "event_name": c.text,
    "event_time": c.integer,
    "user_data": c.obj,
    "action_source": c.one_of(*ACTION_SOURCES),
    "custom_data": c.obj,
    "event_source_url": c.url,
    "event_id": c.text,
    "opt_out": c.boolean,
    "data_processing_options": lambda v: c.strings(v) or (None if set(v) <= {"LDU"} else "must hold LDU only"),
    "data_processing_options_country": c.one_of(0, 1),
    "data_processing_options_state": c.one_of(*_STATES),
    "referrer_url": c.string,
    "customer_segmentation": SEGMENTATION,
    "original_event_data": c.obj,
    "attribution_data": c.obj,
    "app_data": c.obj,
    "messaging_channel": c.one_of("whatsapp", "messenger", "instagram"),
    "advanced_measurement_table": c.string,
}
_HASHED = ["em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country"]
_HASHED += ["email", "phone", "gen", "zip"]  # documented aliases: OFF
_HASHED += ["f5first", "f5last", "fi", "dobd", "dobm", "doby"]  # from the official SDK's source
_ID = "must be an id of 15 to 17 digits"
USER: dict[str, c.Check] = {  # documented: CIP; what else it holds is ignored
    **dict.fromkeys(_HASHED, c.hashed),
    "external_id": c.string_or_strings,  # hashing is advised, not required; a number is refused
    "client_ip_address": c.ip,
    "client_user_agent": c.plain,
    "fbc": c.shaped(r"fb\.\d+\.\d{13}\.[\w-]+(\.[\w-]{2,8})?", "must be fb.{index}.{ms}.{fbclid}"),  # FBPC
    "fbp": c.shaped(r"fb\.\d+\.\d{13}\.\d+(\.[\w-]{2,8})?", "must be fb.{index}.{ms}.{number}"),  # FBPC
    "subscription_id": c.plain,
    "lead_id": lambda v: None if re.fullmatch(r"\d{15,17}", str(v)) and type(v) in (int, str) else _ID,
    "fb_login_id": lambda v: None if type(v) in (int, str) else "must be an id",
    **dict.fromkeys(["page_id", "page_scoped_user_id", "ctwa_clid", "ig_account_id", "ig_sid"], c.plain),
    "whatsapp_business_account_id": c.plain,
    **dict.fromkeys(["madid", "anon_id"], c.plain),
}
_KNOWN_USER = frozenset(USER)
WEAK_SETS = (  # documented: CIP; nothing but a subset of one of these is too little
    frozenset(["ct", "country", "st", "zp", "ge", "client_user_agent"]),
    frozenset(["db", "client_user_agent"]),
    frozenset(["fn", "ge"]),
    frozenset(["ln", "ge"]),
)
_ITEM: dict[str, c.Check] = {
    "id": c.text,
    "quantity": c.integer,
    "item_price": c.number,
    "delivery_category": c.one_of("in_store", "curbside", "home_delivery"),
}
CUSTOM: dict[str, c.Check] = {  # documented: CUS; free keys are allowed
    "value": c.number,
    "currency": c.currency,
    "content_ids": c.strings,
    "content_type": c.one_of("product", "product_group"),
    "contents": c.listed(_ITEM),
    "delivery_category": c.one_of("in_store", "curbside", "home_delivery"),
    "order_id": c.text,
    "num_items": c.integer,
    "predicted_ltv": c.number,
    "net_revenue": c.number,
    "customer_segmentation": SEGMENTATION,
    **dict.fromkeys(["content_name", "content_category", "search_string", "item_number"], c.string),
    **dict.fromkeys(["lead_event_source", "status"], c.string),
    "event_source": c.one_of("crm"),  # documented: conversion leads
}
APP_DATA: dict[str, c.Check] = {  # documented: APP
    **dict.fromkeys(["advertiser_tracking_enabled", "application_tracking_enabled"], c.one_of(0, 1)),
    "url_schemes": c.strings,
    **dict.fromkeys(["campaign_ids", "install_referrer", "installer_package"], c.string),
    **dict.fromkeys(["vendor_id", "windows_attribution_id"], c.string),
}
ORIGINAL: dict[str, c.Check] = {  # documented: SRV
    "event_name": c.text,
    "event_time": c.integer,
    "order_id": c.text,
    "event_id": c.text,
}
_SUBCODES: dict[str, int] = {  # by the field at fault; what is not here has no established subcode
    "user_data.fbc": BAD_FBC,
    "user_data.lead_id": BAD_LEAD_ID,
    "custom_data.value": BAD_VALUE,
    "custom_data.currency": BAD_CURRENCY,
}


class Refused(Exception):
    """Why the whole call is refused."""

    def __init__(self, subcode: int | None, problem: c.Problem) -> None:
        super().__init__(problem.what)
        self.subcode = subcode
        self.problem = problem


def _need(problem: c.Problem | None) -> None:
    if problem is not None:
        raise Refused(MISSING, problem)


def _typed(problem: c.Problem | None) -> None:
    if problem is None:
        return
    fallback = BAD_CUSTOM_DATA if problem.where.startswith("custom_data.") else None
    raise Refused(_SUBCODES.get(problem.where, fallback), problem)


def check_event(event: Any, now: float) -> list[str]:
    """The keys Meta ignores, for an event it would take.

    Raises:
        Refused: with the subcode, where one is known, of the first rule that the event breaks.
    """
    if type(event) is not dict:
        raise Refused(None, c.Problem("data", "must hold objects", event))
    unknown: list[str] = []
    _need(c.missing(("event_name", "event_time", "user_data", "action_source"), event))
    _typed(c.fields(EVENT, event, "", unknown))
    if unknown:
        raise Refused(None, c.Problem(unknown[0], f'Unexpected key "{unknown[0]}" on param "data"'))
    user, source = event["user_data"], event["action_source"]
    _typed(c.fields(ORIGINAL, event.get("original_event_data", {}), "original_event_data.", []))
    _typed(c.fields(USER, user, "user_data.", unknown))
    sent = {key for key, value in user.items() if value and key in _KNOWN_USER}
    if not sent or any(sent <= weak for weak in WEAK_SETS):
        raise Refused(WEAK, c.Problem("user_data", "holds too little customer information"))
    limit_s = MAX_AGE_STORE_S if source == "physical_store" else MAX_AGE_S
    side = c.age(event["event_time"], now, limit_s, AHEAD_S)
    if side is not None:
        raise Refused(TOO_OLD if side == "old" else IN_FUTURE, c.Problem("event_time", f"is too {side}"))
    if source == "website":  # documented: SRV, CIP (one probe saw a call without user agent pass)
        _need(c.missing(("event_source_url",), event))
        _need(c.missing(("client_user_agent",), user, "user_data."))
    _check_source(event, source)
    _check_options(event, user)
    custom = event.get("custom_data")
    if custom is not None:
        ignored: list[str] = []
        _typed(c.fields(CUSTOM, custom, "custom_data.", ignored))
    if event["event_name"] == "Purchase":  # documented: CUS
        for name, subcode in (("value", BAD_VALUE), ("currency", BAD_CURRENCY)):
            if custom is None or name not in custom:
                raise Refused(subcode, c.Problem(f"custom_data.{name}", "is required for Purchase"))
    return unknown


def _check_source(event: dict[str, Any], source: str) -> None:
    if source == "app":  # documented: APP
        _need(c.missing(("app_data",), event))
        names = ("advertiser_tracking_enabled", "application_tracking_enabled", "extinfo")
        _need(c.missing(names, event["app_data"], "app_data."))
        extinfo = event["app_data"]["extinfo"]
        if c.strings(extinfo) or len(extinfo) != 16 or extinfo[0] not in ("a2", "i2"):
            raise Refused(BAD_EXTINFO, c.Problem("app_data.extinfo", "must hold 16 strings", extinfo))
        _typed(c.fields(APP_DATA, event["app_data"], "app_data.", []))
    elif source == "business_messaging":  # documented: MSG
        _need(c.missing(("messaging_channel",), event))
        if event["event_name"] not in MESSAGING_NAMES:
            raise Refused(BAD_MESSAGING_NAME, c.Problem("event_name", "is no messaging event"))
        for name, subcode in MESSAGING_IDS[event["messaging_channel"]].items():
            if name not in event["user_data"]:
                raise Refused(subcode, c.Problem(f"user_data.{name}", "is required for this channel"))


def _check_options(event: dict[str, Any], user: dict[str, Any]) -> None:
    if not event.get("data_processing_options"):
        return
    _need(c.missing(("data_processing_options_country", "data_processing_options_state"), event))  # DPO
    located = event["data_processing_options_state"] != 0 or "client_ip_address" in user
    if not located:  # documented for country 0, inferred for country 1 with state 0
        raise Refused(MISSING, c.Problem("user_data.client_ip_address", "is required to locate the user"))


def _arrival(account: str, event: dict[str, Any], test: str | None, unknown: list[str]) -> Arrival:
    custom, user = event.get("custom_data") or {}, event["user_data"]
    offline = event["action_source"] == "physical_store"
    fingerprint = None
    if offline and "order_id" not in custom:
        parts = [event["event_time"], custom.get("item_number"), user]
        fingerprint = sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
    twins: tuple[str, ...] = ()
    if "event_id" not in event:
        ids = user.get("external_id", [])
        twins = (ids,) if isinstance(ids, str) else tuple(ids)
        twins += (user["fbp"],) if "fbp" in user else ()
    copy = Copy(
        account,
        event["event_name"],
        event.get("event_id"),
        "server",
        custom.get("order_id"),
        c.amount(custom.get("value")),
        custom.get("currency", "").upper() or None,
        offline,
        test,
        True,  # documented: USE; events with a test code are processed and count
        twins,
        fingerprint,
    )
    return Arrival(copy, event, event["event_time"], tuple(unknown))


def answer(call: Call) -> Answer:
    """Meta's reply: every event of the batch is taken, or none is (documented: USE)."""
    token = token_of(call)
    if token is None or token.startswith("DEAD"):
        return Answer(error("token_missing" if token is None else "token_dead", call.trace, {}))
    try:
        return _take(call)
    except Refused as refused:
        options = {"subcode": refused.subcode, "where": refused.problem.where, "what": refused.problem.what}
        return Answer(error("refused", call.trace, options))


def _take(call: Call) -> Answer:
    body = call.payload
    if type(body) is not dict or type(body.get("data")) is not list:
        raise Refused(None, c.Problem("data", "must be an array"))
    data, test, agent = body["data"], body.get("test_event_code"), body.get("partner_agent")
    if not 1 <= len(data) <= MAX_EVENTS:
        raise Refused(None, c.Problem("data", f"must hold 1 to {MAX_EVENTS} events"))
    if test is not None and c.text(test):
        raise Refused(None, c.Problem("test_event_code", "must be a string"))
    if agent is not None and (type(agent) is not str or len(agent) > 22 or not re.search("[A-Za-z]{2}", agent)):
        raise Refused(None, c.Problem("partner_agent", "must be shorter than 23 characters, with 2 letters"))
    arrivals = []
    for index, event in enumerate(data):
        try:
            unknown = check_event(event, call.now)
            custom = event.get("custom_data") or {}
            # An online event may come without an order_id; its event_id then tells the order.
            if "POISON-META" in f"{custom.get('order_id', '')} {event.get('event_id', '')}":
                raise Refused(UNEXPLAINED, c.Problem("custom_data.order_id", "is not accepted"))
        except Refused as refused:
            if call.blame:
                named = refused.problem._replace(where=f"$['data'][{index}].{refused.problem.where}")
                raise Refused(refused.subcode, named) from refused
            raise
        arrivals.append(_arrival(call.account, event, test, unknown))
    body_out = {"events_received": len(data), "messages": [], "fbtrace_id": call.trace}
    return Answer(Reply(200, body_out), arrivals)


def token_of(call: Call) -> str | None:
    """The token from the header, the query or the body: Meta takes all three (partly inferred)."""
    body = call.payload if type(call.payload) is dict else {}
    found = bearer(call.headers) or call.query.get("access_token") or body.get("access_token")
    return c.text_or_none(found)


def decode(headers: Mapping[str, str], body: bytes) -> Any:
    """The parsed body: JSON, or a form whose `data` is JSON text (documented: USE; multipart is not read)."""
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return decode_json(headers, body)
    form: dict[str, Any] = dict(parse_qsl(body.decode("utf-8", "replace")))
    data = decode_json(headers, str(form.get("data", "")).encode())
    return UNREADABLE if data is UNREADABLE else {**form, "data": data}


# status, code, subcode, transient, message. Codes are documented (ERR); the HTTP status is documented for 190
# only, elsewhere inferred, as are 803 for a path and 100 for a size.
_ERRORS: dict[ErrorKind, tuple[int, int, int | None, bool, str]] = {
    "token_missing": (400, 104, None, False, "An access token is required to request this resource."),
    "token_dead": (401, 190, 463, False, "Error validating access token: Session has expired."),
    "throttled": (429, 4, 1504022, True, "(#4) Application request limit reached"),
    "failed": (500, 2, None, True, "An unexpected error has occurred. Please retry your request later."),
    "refused": (400, 100, UNEXPLAINED, False, "Invalid parameter"),
    "not_found": (404, 803, None, False, "(#803) Some of the aliases you requested do not exist"),
    "too_large": (413, 100, None, False, "Request is too large"),
}


def error(kind: ErrorKind, trace: str, options: Mapping[str, Any]) -> Reply:
    """Meta's error object (documented: ERR); without the index of the bad event unless `where` names it."""
    status, code, subcode, transient, message = _ERRORS[kind]
    subcode = options.get("subcode", subcode)
    body: dict[str, Any] = {"message": message, "type": "OAuthException", "code": options.get("code", code)}
    if subcode is not None:
        body["error_subcode"] = subcode
    body["is_transient"] = transient
    if "what" in options:
        body["error_user_title"] = "Invalid parameter"
        body["error_user_msg"] = f"{options['where']} {options['what']}"
    body["fbtrace_id"] = trace
    return Reply(options.get("status", status), {"error": body})


def label(event: Mapping[str, Any]) -> Label:
    """What a fault script may match."""
    return label_of(event, "event_name", "custom_data")


META = Platform(
    name="meta",
    path=re.compile(r"/v\d+\.\d+/(?P<account>\d+)/events"),
    owns=re.compile(r"/v\d+\.\d+(/.*)?|/\d+/events"),
    token=token_of,
    answer=answer,
    error=error,
    label=label,
    decode=decode,
)
