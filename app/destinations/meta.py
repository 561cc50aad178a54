"""Meta Conversions API: events of a pixel or dataset.

Documented at developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11-20; the page
`docs/destinations/meta.md` has the field tables and says how sure each rule is. A batch is all or nothing at Meta,
so whatever is documented to fail is held back here, and a refused batch is taken apart by the worker.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import orjson
from pydantic import Field, SecretStr

from app.destinations.base import (
    DEDUP_WINDOW,
    Admission,
    Admit,
    Destination,
    Limits,
    MappedSettings,
    Skip,
    Token,
    app_extinfo,
    app_flag,
    app_text,
    as_code,
    described,
    each,
    gate_age,
    grouped,
    hashed,
    isolate,
    json_object,
    named_positions,
    number,
    pack,
    platform_name,
    retry_after,
    scalars,
    scrub,
    tidy,
    unix_seconds,
    unknown,
    unreadable,
    uuid_text,
)
from app.destinations.pixel import javascript, money
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, Form, HashedEvent, HttpCall, HttpReply, Park, Result, Retry, Split, Warn
from app.units import Duration

LIMITS = Limits(
    max_items=1000,  # Using the API, documented
    max_bytes=1_000_000,  # not documented; about 1 MB noted by a peer
)

# Meta Pixel reference, documented: the standard names are Meta's own. Refund is a custom name there; nothing is
# subtracted from the Purchase.
EVENT_NAMES = {
    name: name
    for name in (
        "Purchase Lead AddToCart InitiateCheckout AddPaymentInfo AddToWishlist CompleteRegistration ViewContent "
        "Search PageView Subscribe StartTrial Contact Schedule SubmitApplication FindLocation CustomizeProduct "
        "Donate Refund"
    ).split()
}
MESSAGING_NAMES = {  # Conversions API for business messaging, documented; any other name is refused (2804066)
    "Purchase": "Purchase",
    "Lead": "LeadSubmitted",
    "InitiateCheckout": "InitiateCheckout",
    "AddToCart": "AddToCart",
    "ViewContent": "ViewContent",
}
MESSAGING_OWN_NAMES = (  # the same page's further names, for callers who post them as they are
    "LeadSubmitted OrderCreated OrderShipped OrderDelivered OrderCanceled OrderReturned CartAbandoned QualifiedLead "
    "RatingProvided ReviewProvided"
).split()
MessagingChannel = Literal["whatsapp", "messenger", "instagram"]  # business messaging page, documented

# Customer information parameters, documented: keys of hashed values. What limited use can do without stands apart.
STRONG_KEYS = {"em": Form.EMAIL, "ph": Form.PHONE_DIGITS, "external_id": Form.EXTERNAL_ID_LOWER}
PERSONAL_KEYS = {
    "fn": Form.FIRST_NAME_LETTERS,
    "ln": Form.LAST_NAME_LETTERS,
    "db": Form.BIRTH_DATE,
    "ge": Form.GENDER,
    "ct": Form.CITY,
    "st": Form.STATE,
    "zp": Form.ZIP,
    "country": Form.COUNTRY,
}
TOO_WEAK = (  # Customer information parameters, documented: an event with no more than one of these is invalid
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
LDU_STATES = {  # Data processing options, documented: 1000 is California, in this order
    state: 1000 + index for index, state in enumerate("ca co ct fl or tx mt de ne nh nj mn md ri".split())
}
OFFLINE_REPEATS = timedelta(days=7)  # Offline events, documented: by order_id among offline events, up to 7 days

# Graph API error handling and rate limiting, documented, unless another source is named.
THROTTLED = frozenset({4, 17, 32, 341, 613})
TRANSIENT = frozenset({1, 2})
CREDENTIALS = frozenset({102, 104, 190})
# Capability, permission, unknown id; retired version (seen in public threads); terms not accepted (seen in peers).
CONFIGURATION = frozenset({3, 10, 803, 2635, 2655})
BLOCKED_FOR_NOW = 368
BLOCKED_WAIT = timedelta(hours=1)  # inferred: "temporarily blocked" comes without a time
UNKNOWN_ERROR = 5000  # seen in peers
UNKNOWN_ERROR_ATTEMPTS = 5
EVENT_AT_FAULT = frozenset({100, 105})

_CLICK_ID = re.compile(r"fb\.\d+\.\d{13}\.[\w-]+(\.[\w-]{2,8})?", re.ASCII)
_LEAD_ID = re.compile(r"[1-9][0-9]{14,16}")
_CUSTOM_KEYS = frozenset(
    (
        "value currency order_id num_items search_string predicted_ltv content_name content_category content_type "
        "content_ids contents"
    ).split()
)


class MetaSettings(MappedSettings):
    """One pixel or dataset at Meta."""

    base_url: str = Field("https://graph.facebook.com", description="Origin of the Graph API.")
    pixel_id: str = Field(pattern=r"^[0-9]{1,20}$", description="Pixel or dataset id.")
    access_token: Token = Field(description="Token of the dataset or of a system user.")
    api_version: str = Field("v26.0", pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$", description="Graph API version.")
    test_event_code: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Code of Test Events; events posted with `test: true` carry it. Meta counts them all the same.",
    )
    partner_agent: str | None = Field(
        None,
        max_length=22,
        pattern=r"^[!-~]*[A-Za-z][!-~]*[A-Za-z][!-~]*$",
        description="Platform name shown by Meta: below 23 characters, two of them letters.",
    )
    app_secret: Token | None = Field(
        None, description="Secret of the app that made the token, where that app demands a proof with each call."
    )
    token_in_query: bool = Field(
        False, description="Send the token as a query parameter, the documented place, instead of in a header."
    )
    messaging_channel: MessagingChannel | None = Field(
        None, description="Channel of business_messaging events that name none in `properties.messaging_channel`."
    )
    require_user_agent: bool = Field(
        False,
        description="Skip website events without user agent: Meta asks for it, yet was seen to take them without.",
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest event Meta takes.")
    max_age_physical_store: Duration = Field(
        timedelta(days=62), gt=timedelta(0), description="The same for action_source physical_store."
    )


def _name(event: HashedEvent, settings: MetaSettings) -> str | None:
    if event.action_source == "business_messaging":
        own = event.event_name if event.event_name in MESSAGING_OWN_NAMES else None
        return platform_name(event, settings, MESSAGING_NAMES, own)
    return platform_name(event, settings, EVENT_NAMES, event.event_name)


def pixel_call(event: HashedEvent, event_id: str, settings: MetaSettings) -> str | None:
    """The pixel's call; it spells the id `eventID` (page on duplicate pixel and server events, documented)."""
    name = _name(event, settings)
    if name is None:
        return None
    # The pixel has a verb of its own for names that are not Meta's.
    verb = "track" if name in EVENT_NAMES.values() else "trackCustom"
    return javascript("fbq", verb, name, money(event), {"eventID": event_id})


def _user_data(event: HashedEvent, *, is_limited: bool) -> dict[str, Any]:
    identity = event.identity
    user: dict[str, Any] = {key: hashed(identity, form) for key, form in STRONG_KEYS.items()}
    if not is_limited:
        user |= {key: hashed(identity, form) for key, form in PERSONAL_KEYS.items()}
    user |= {
        "client_ip_address": identity.client_ip_address,
        "client_user_agent": identity.client_user_agent,
        "fbc": _click_id(identity.fbc),
        "fbp": _click_id(identity.fbp),
        "subscription_id": event.custom_data.subscription_id,
        "lead_id": _lead_id(identity.lead_id),
    }
    if event.action_source == "app":
        user["madid"] = uuid_text(identity.idfa) or uuid_text(identity.gaid)
    return tidy(user)


def _is_too_weak(user: Mapping[str, Any]) -> bool:
    return any(user.keys() <= weak for weak in TOO_WEAK)


def _click_id(value: str | None) -> str | None:
    return value if value and _CLICK_ID.fullmatch(value) else None


def _lead_id(value: str | None) -> int | None:
    return int(value) if value and _LEAD_ID.fullmatch(value) else None


def _app_data(event: HashedEvent) -> dict[str, Any]:
    if event.action_source != "app":
        return {}
    texts = "campaign_ids install_referrer installer_package windows_attribution_id".split()
    flags = "advertiser_tracking_enabled application_tracking_enabled".split()
    return tidy(
        {key: app_flag(event, key) for key in flags}
        | {"extinfo": app_extinfo(event), "vendor_id": event.identity.idfv or app_text(event, "vendor_id")}
        | {key: app_text(event, key) for key in texts}
    )


def _messaging_channel(event: HashedEvent, settings: MetaSettings) -> str | None:
    if event.action_source != "business_messaging":
        return None
    channel = event.custom_data.properties.get("messaging_channel")
    return channel if channel in get_args(MessagingChannel) else settings.messaging_channel


def _reserved(event: HashedEvent) -> frozenset[str]:
    return _CUSTOM_KEYS | {"messaging_channel"} if event.action_source == "business_messaging" else _CUSTOM_KEYS


def _has_order_key(event: HashedEvent) -> bool:
    """Whether order_id may go out: in a store it is the dedup key, so one of several must not carry it."""
    return event.action_source != "physical_store" or event.occurrence is None


def _custom_data(event: HashedEvent) -> dict[str, Any]:
    data = event.custom_data
    lines = [
        tidy({"id": line.id, "quantity": line.quantity, "item_price": number(line.item_price)})
        for line in data.contents
        if line.id
    ]
    return scalars(data.properties, _reserved(event)) | tidy(
        {
            "value": number(data.value),
            "currency": data.currency,
            "order_id": data.order_id if _has_order_key(event) else None,
            "num_items": data.num_items,
            "search_string": data.search_string,
            "predicted_ltv": number(data.predicted_ltv),
            "content_name": data.content_name,
            "content_category": data.content_category,
            "content_type": data.content_type,
            "contents": lines,
        }
    )


def _limited_options(event: HashedEvent) -> dict[str, Any]:
    """Limited Data Use: the state where Meta knows a code for it, else 0/0, where Meta locates the IP address."""
    state = LDU_STATES.get(event.identity.state or "", 0) if event.identity.country == "us" else 0
    return {
        "opt_out": True,
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1 if state else 0,
        "data_processing_options_state": state,
    }


def can_limit(event: HashedEvent, settings: MetaSettings) -> bool:
    """Whether Limited Data Use can be asked for.

    Meta must be told a state it has a code for, or an IP address to locate; and what is left without names, address,
    gender and birth date must still be enough to be taken.
    """
    is_located = _limited_options(event)["data_processing_options_state"] or event.identity.client_ip_address
    return bool(is_located) and not _is_too_weak(_user_data(event, is_limited=True))


def admit(event: HashedEvent, settings: MetaSettings, now: datetime) -> Admission:
    """Whether and until when Meta takes this event."""
    name = _name(event, settings)
    if not name:
        return Skip(Reason.EVENT_NOT_SUPPORTED, f"no name for this event with action_source {event.action_source}")
    is_store = event.action_source == "physical_store"
    window = settings.max_age_physical_store if is_store else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    missing = _missing(event, name, settings)
    if missing:
        return Skip(Reason.REQUIRED_FIELD_MISSING, f"Meta needs {', '.join(missing)}")
    known = event.identity.digests
    is_known = known.get(Form.EMAIL) or known.get(Form.PHONE_DIGITS) or event.identity.client_ip_address
    if not is_known and _is_too_weak(_user_data(event, is_limited=False)):
        return Skip(Reason.IDENTIFIERS_MISSING, "Meta takes no event with so little about the customer")
    if is_store:  # no pixel has a twin of it, and only order_id tells two of them apart for certain
        has_key = bool(event.custom_data.order_id) and _has_order_key(event)
        repeats = OFFLINE_REPEATS if has_key else timedelta(0)
        return Admit(until, timedelta(0), repeats, _warnings(event))
    return Admit(until, DEDUP_WINDOW, DEDUP_WINDOW, _warnings(event))


def _missing(event: HashedEvent, name: str, settings: MetaSettings) -> list[str]:
    missing = []
    if event.action_source == "website" and not event.event_source_url:
        missing.append("event_source_url")
    if settings.require_user_agent and _lacks_user_agent(event):
        missing.append("user.client_user_agent")
    if event.action_source == "business_messaging" and _messaging_channel(event, settings) is None:
        missing.append("custom_data.properties.messaging_channel, or the setting")
    if name == "Purchase" and event.money is None:
        missing.append("custom_data.value and custom_data.currency")
    if event.action_source == "app":
        app_data = _app_data(event)
        required = ("advertiser_tracking_enabled", "application_tracking_enabled", "extinfo")
        missing += [f"app.{key}" for key in required if key not in app_data]
    return missing


def _lacks_user_agent(event: HashedEvent) -> bool:
    return event.action_source == "website" and not event.identity.client_user_agent


def _warnings(event: HashedEvent) -> tuple[Warn, ...]:
    identity, data = event.identity, event.custom_data
    warnings = []
    if _lacks_user_agent(event):
        warnings.append(
            Warn("field_missing", "/user/client_user_agent", "Meta asks for the user agent of website events")
        )
    warnings += [
        Warn("click_id_malformed", f"/user/{name}", f"{name} is not of Meta's shape and is left out")
        for name, value in (("fbc", identity.fbc), ("fbp", identity.fbp))
        if value and not _click_id(value)
    ]
    if identity.lead_id and not _lead_id(identity.lead_id):
        warnings.append(Warn("lead_id_malformed", "/user/lead_id", "a lead id of Meta has 15 to 17 digits: left out"))
    if any(not line.id for line in data.contents):
        warnings.append(Warn("content_dropped", "/custom_data/contents", "lines without an id are left out"))
    if len(scalars(data.properties, _CUSTOM_KEYS)) < len(data.properties):
        warnings.append(
            Warn("properties_dropped", "/custom_data/properties", "only flat values under free keys reach Meta")
        )
    return tuple(warnings)


def build(deliveries: Sequence[Delivery], settings: MetaSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: test events, and those Meta may refuse, apart from all others."""
    calls = []
    groups = grouped(deliveries, lambda d: (d.event.is_test, _is_doubtful(d.event)))
    for (is_test, _), group in groups.items():
        if is_test and settings.test_event_code is None:
            raise DestinationError("a test event has no way to Meta without test_event_code")
        extra = tidy(
            {
                "partner_agent": settings.partner_agent,
                "test_event_code": settings.test_event_code if is_test else None,
            }
        )
        tail = b"]," + orjson.dumps(extra)[1:] if extra else b"]}"
        items = [(delivery, orjson.dumps(_event(delivery, settings))) for delivery in group]
        calls += [
            HttpCall(
                url=f"{settings.base_url}/{settings.api_version}/{settings.pixel_id}/events",
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                **_secrets(settings),
            )
            for batch, body in pack(items, LIMITS, b'{"data":[', tail)
        ]
    return calls


def _is_doubtful(event: HashedEvent) -> bool:
    """Whether Meta may well refuse this event: as a batch is all or nothing, such events keep to themselves."""
    return event.action_source == "business_messaging" or _lacks_user_agent(event)


def _secrets(settings: MetaSettings) -> dict[str, Any]:
    token = settings.access_token.get_secret_value()
    params = {"access_token": token} if settings.token_in_query else {}
    if settings.app_secret is not None:
        params["appsecret_proof"] = _proof(settings.app_secret, token)
    headers = {} if settings.token_in_query else {"authorization": f"Bearer {token}"}
    return {"secret_headers": headers, "secret_params": params}


def _proof(app_secret: SecretStr, token: str) -> str:
    """Graph API, Securing requests: lower hex of HMAC-SHA256 with the app secret as key."""
    return hmac.new(app_secret.get_secret_value().encode(), token.encode(), hashlib.sha256).hexdigest()


def _event(delivery: Delivery, settings: MetaSettings) -> dict[str, Any]:
    event = delivery.event
    record: dict[str, Any] = {
        "event_name": _name(event, settings) or event.event_name,
        "event_time": unix_seconds(event),
        "event_id": delivery.event_id,
        "action_source": event.action_source,
        "event_source_url": event.event_source_url,
        "referrer_url": event.referrer_url,
        "messaging_channel": _messaging_channel(event, settings),
        "user_data": _user_data(event, is_limited=delivery.limited),
        "custom_data": _custom_data(event),
        "app_data": _app_data(event),
    }
    return tidy(record | (_limited_options(event) if delivery.limited else {}))


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Meta's answer means for each of these deliveries, in order. Its texts are localised and never decide."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        return unreadable(reply, size)
    if isinstance(body.get("error"), dict):
        return _read_error(body["error"], reply, size)
    trace_id = body.get("fbtrace_id") if isinstance(body.get("fbtrace_id"), str) else None
    received = body.get("events_received")
    if 200 <= reply.status < 300 and type(received) is int and received == size:
        messages = body.get("messages")
        notes = "; ".join(m for m in messages if isinstance(m, str)) if isinstance(messages, list) else ""
        return each(Delivered(trace_id, scrub(notes or reply.headers.get("x-ad-api-version-warning"))), size)
    if reply.status == 413:
        return isolate(size, "HTTP 413", (), trace_id)
    detail = f"HTTP {reply.status} without the count of events received, or with another one"
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, _regain(reply.headers), detail), size)
    return each(Retry(Reason.PLATFORM_ERROR, _regain(reply.headers), detail, is_ambiguous=reply.status < 300), size)


def _read_error(error: Mapping[str, Any], reply: HttpReply, size: int) -> Sequence[Result] | Split | Park:
    code, subcode = as_code(error.get("code")), as_code(error.get("error_subcode"))
    detail = described(code if subcode is None else f"{code}/{subcode}", error.get("message"))
    trace_id = error.get("fbtrace_id") if isinstance(error.get("fbtrace_id"), str) else None
    after = _regain(reply.headers)
    if code is not None:
        if code in THROTTLED or 80000 <= code <= 80014:  # business use case codes, Rate limiting, documented
            return each(Retry(Reason.RATE_LIMITED, after, detail), size)
        if code in CREDENTIALS:
            return Park(Reason.CREDENTIALS, detail)
        if code in CONFIGURATION or 200 <= code <= 299 or (code, subcode) == (100, 33):  # 100/33: unknown id
            return Park(Reason.CREDENTIALS, detail)
    if error.get("is_transient") is True or code in TRANSIENT:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if code == BLOCKED_FOR_NOW:
        return each(Retry(Reason.PLATFORM_ERROR, after or BLOCKED_WAIT, detail), size)
    if code == UNKNOWN_ERROR:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail, max_attempts=UNKNOWN_ERROR_ATTEMPTS), size)
    if code in EVENT_AT_FAULT or reply.status == 413:
        return isolate(size, detail, _suspects(error, size), trace_id)
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if reply.status >= 500:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    return unknown(size, detail, after)


def _suspects(error: Mapping[str, Any], size: int) -> tuple[int, ...]:
    """Positions the error names: in its field specs (`error_data` may be JSON in a string) or in a path."""
    data = error.get("error_data")
    if isinstance(data, str):
        data = _json(data)
    specs = data.get("blame_field_specs") if isinstance(data, dict) else None
    paths = [".".join(map(str, spec)) for spec in specs if isinstance(spec, list)] if isinstance(specs, list) else []
    return named_positions(size, *paths, error.get("message"), error.get("error_user_msg"))


def _regain(headers: Mapping[str, str]) -> timedelta | None:
    """The longest wait asked for: Retry-After, minutes of the business use case, seconds of the ad account."""
    waits = [retry_after(headers)]
    cases = _json(headers.get("x-business-use-case-usage", ""))
    for usages in cases.values() if isinstance(cases, dict) else ():
        for usage in usages if isinstance(usages, list) else ():
            minutes = as_code(usage.get("estimated_time_to_regain_access")) if isinstance(usage, dict) else None
            waits.append(timedelta(minutes=minutes) if minutes else None)
    account = _json(headers.get("x-ad-account-usage", ""))
    if isinstance(account, dict) and (as_code(account.get("acc_id_util_pct")) or 0) >= 100:
        seconds = as_code(account.get("reset_time_duration"))
        waits.append(timedelta(seconds=seconds) if seconds else None)
    return max((wait for wait in waits if wait), default=None)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


DESTINATION = Destination(
    name="meta",
    settings=MetaSettings,
    limits=LIMITS,
    needs=frozenset({*STRONG_KEYS.values(), *PERSONAL_KEYS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test_event_code is not None,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
)
