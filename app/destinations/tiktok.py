"""TikTok Events API 2.0: one endpoint for web, app, offline and CRM events.

Documented at business-api.tiktok.com/portal/docs (id 1771101303285761), read 2026-11-20; the page
`docs/destinations/tiktok.md` has the field tables and says how sure each rule is. TikTok takes unknown keys in
silence and answers most failures with HTTP 200, so the keys are an allow-list and the body's code decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import orjson
from pydantic import Field, model_validator

from app.destinations.base import (
    DEDUP_WINDOW,
    UNKNOWN_ANSWER_ATTEMPTS,
    Admission,
    Admit,
    Destination,
    Limits,
    MappedSettings,
    Skip,
    Token,
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
    tidy,
    unix_seconds,
    unknown,
    unreadable,
)
from app.destinations.pixel import javascript, money
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, Form, HashedEvent, HttpCall, HttpReply, Park, Result, Retry, Split, Warn
from app.units import Duration

LIMITS = Limits(
    max_items=1000,  # endpoint page, documented
    max_bytes=1_000_000,  # not documented; chosen
)

EventSource = Literal["web", "app", "offline", "crm"]

EVENT_NAMES = {  # supported events page, documented; the same set for web, offline and crm
    name: name
    for name in (
        "Purchase Lead AddToCart InitiateCheckout AddPaymentInfo AddToWishlist CompleteRegistration ViewContent Search "
        "Subscribe StartTrial Contact Schedule SubmitApplication FindLocation CustomizeProduct"
    ).split()
} | {"Donate": "Donate"}  # a custom event at TikTok
APP_EVENT_NAMES = EVENT_NAMES | {
    "Lead": "GenerateLead",  # supported events page, documented
    "InitiateCheckout": "Checkout",  # seen in peers
    "CompleteRegistration": "Registration",  # seen in peers
}
STANDARD_NAMES = (frozenset(EVENT_NAMES) - {"Donate"}) | {"ApplicationApproval", "Download"}  # documented
LOOKALIKES = re.compile(  # reserved events page, documented: TikTok turns such custom names into standard events
    r"(?i)browse|checkout|registration|startcheckout|consult.*|addbilling|view.*page|viewform"
)
CURRENCIES = frozenset(  # endpoint page, documented
    (
        "AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS INR "
        "ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK SGD "
        "THB TRY TWD UAH USD VES VND ZAR"
    ).split()
)
PERSONAL_FIELDS = {  # parameters page, second-hand: one hashed value each, of website events
    "first_name": Form.FIRST_NAME_SPACED,
    "last_name": Form.LAST_NAME_SPACED,
    "zip_code": Form.ZIP,
}
STRONG_FIELDS = frozenset("email phone external_id ttclid ttp idfa gaid idfv".split())
ATT_STATUSES = "AUTHORIZED DENIED NOT_DETERMINED RESTRICTED NOT_APPLICABLE".split()  # endpoint page, documented

# The SDK's table of codes names them; which class each belongs to is inferred unless noted.
PARTLY_OK = 20001  # general API; never seen here; peers take it as done
DUPLICATE = 40050  # "duplicate request": the first copy counts
EVENT_AT_FAULT = frozenset({40000, 40002, 40061, 40062, 40063})  # 40002 seen in peers
CREDENTIALS = frozenset({40102, 40104, 40105})
PERMISSION = frozenset({40001, 40003, 40113, 40117, 40118, 40124, 40125, 40130})  # 40001 seen in peers
RETIRED = frozenset({40006, 40051, 40400, 41001})
THROTTLED = {40100: timedelta(minutes=5), 40132: None, 61000: None}  # rate limits page, second-hand: 5 minutes
TRANSIENT = frozenset({40202, 50000, 50002, 60001})


class TikTokSettings(MappedSettings):
    """One TikTok token and the event sources it may report to."""

    base_url: str = Field("https://business-api.tiktok.com", description="Origin of the Business API.")
    api_version: str = Field("v1.3", pattern=r"^v[0-9]{1,2}\.[0-9]{1,2}$", description="Business API version.")
    access_token: Token = Field(description="Token made for these event sources.")
    pixel_code: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Pixel code (not the ad account id): takes website events."
    )
    offline_event_set_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Offline event set: takes store, phone and other events."
    )
    crm_event_set_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="CRM event set: takes events with a TikTok lead id."
    )
    app_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="TikTok app id: takes app events. TikTok must allow it."
    )
    test_event_code: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Code of Test Events; events posted with `test: true` carry it and are kept out of the reports.",
    )
    lead_event_source: str | None = Field(None, max_length=100, description="Name of the CRM, sent with crm events.")
    address_fields: Literal["none", "hashed", "all"] = Field(
        "hashed",
        description="Names and postcode of website events, hashed; `all` adds state and country, which TikTok wants "
        "in clear. They stand on one of TikTok's pages and are missing from another.",
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest web, app or crm event to send.")
    max_age_offline: Duration = Field(timedelta(days=28), gt=timedelta(0), description="The same for offline events.")

    @model_validator(mode="after")
    def _has_event_source(self) -> Self:
        if not (self.pixel_code or self.offline_event_set_id or self.crm_event_set_id or self.app_id):
            raise ValueError("needs one of pixel_code, offline_event_set_id, crm_event_set_id and app_id")
        return self


def _route(event: HashedEvent, settings: TikTokSettings) -> tuple[EventSource, str] | None:
    """The event source that takes this event, and its id. A lead of the CRM set goes there, a store's sale does not."""
    if event.action_source == "website":
        return ("web", settings.pixel_code) if settings.pixel_code else None
    if event.action_source == "app":
        return ("app", settings.app_id) if settings.app_id else None
    is_lead = event.identity.lead_id is not None and event.action_source != "physical_store"
    if settings.crm_event_set_id and (is_lead or not settings.offline_event_set_id):
        return "crm", settings.crm_event_set_id
    return ("offline", settings.offline_event_set_id) if settings.offline_event_set_id else None


def _name(event: HashedEvent, settings: TikTokSettings, source: EventSource) -> str | None:
    table = APP_EVENT_NAMES if source == "app" else EVENT_NAMES
    name = platform_name(event, settings, table, event.event_name)
    if source == "offline" and name not in STANDARD_NAMES:  # endpoint page, documented: offline takes standard only
        return None
    return name


def pixel_call(event: HashedEvent, event_id: str, settings: TikTokSettings) -> str | None:
    """The pixel's call, with the id in a third argument (Event deduplication, documented)."""
    name = _name(event, settings, "web") if settings.pixel_code else None
    return None if name is None else javascript("ttq.track", name, money(event), {"event_id": event_id})


def _user(event: HashedEvent, settings: TikTokSettings, source: EventSource, *, is_limited: bool) -> dict[str, Any]:
    """The user object: each event source has fields of its own (endpoint page, documented)."""
    identity = event.identity
    user: dict[str, Any] = {"email": hashed(identity, Form.EMAIL), "phone": hashed(identity, Form.PHONE_E164)}
    if source != "app":  # documented for web and crm; offline seen in peers
        user["external_id"] = hashed(identity, Form.EXTERNAL_ID)
    if source == "web":
        user |= {"ttclid": identity.ttclid, "ttp": identity.ttp}
        if settings.address_fields != "none" and not is_limited:
            user |= {key: _first(hashed(identity, form)) for key, form in PERSONAL_FIELDS.items()}
            if settings.address_fields == "all":
                user |= {"state": identity.state, "country": identity.country}
    if source in ("web", "app"):
        user |= {
            "ip": identity.client_ip_address,
            "user_agent": identity.client_user_agent,
            "locale": identity.locale.replace("_", "-") if identity.locale else None,
        }
    if source == "app":
        att_status = app_text(event, "att_status")
        user |= {
            "idfa": _idfa(identity.idfa),
            "gaid": identity.gaid.lower() if identity.gaid and identity.gaid.strip("0-") else None,
            "idfv": identity.idfv,
            "att_status": att_status if att_status in ATT_STATUSES else None,
        }
    return tidy(user)


def _idfa(value: str | None) -> str | None:
    """An IDFA in upper case, or its digest in lower case (endpoint page, documented); not the all-zero one."""
    if not value or not value.strip("0-"):
        return None
    return value.lower() if len(value) == 64 else value.upper()


def _first(values: Sequence[str]) -> str | None:
    return values[0] if values else None


def _properties(event: HashedEvent, source: EventSource) -> dict[str, Any]:
    data = event.custom_data
    customer_type = event.identity.customer_type if source in ("web", "app") else None
    return tidy(
        {
            "currency": data.currency,
            "value": number(data.value),
            "contents": [
                tidy(
                    {
                        "content_id": line.id,
                        "content_name": line.title,
                        "content_category": line.category,
                        "brand": line.brand,
                        "price": number(line.item_price),
                        "quantity": line.quantity,
                    }
                )
                for line in data.contents
                if line.id
            ],
            "content_ids": [line.id for line in data.contents if line.id],
            "content_type": data.content_type,
            "num_items": data.num_items,
            "order_id": data.order_id,
            "search_string": data.search_string,
            "customer_type": customer_type if customer_type in ("new", "returning") else None,
        }
    )


def can_limit(event: HashedEvent, settings: TikTokSettings) -> bool:
    """Whether TikTok can honour limited data use: for web and app events with the shopper's IP address."""
    route = _route(event, settings)
    return route is not None and route[0] in ("web", "app") and bool(event.identity.client_ip_address)


def admit(event: HashedEvent, settings: TikTokSettings, now: datetime) -> Admission:
    """Whether and until when TikTok takes this event."""
    route = _route(event, settings)
    if route is None:
        return Skip(
            Reason.EVENT_NOT_SUPPORTED, f"no event source is configured for action_source {event.action_source}"
        )
    source = route[0]
    name = _name(event, settings, source)
    if not name:
        return Skip(Reason.EVENT_NOT_SUPPORTED, f"TikTok has no name for this {source} event")
    window = settings.max_age_offline if source == "offline" else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    if source == "web" and not event.event_source_url:
        return Skip(Reason.REQUIRED_FIELD_MISSING, "TikTok needs event_source_url for website events")
    if source == "crm" and not event.identity.lead_id:
        return Skip(Reason.REQUIRED_FIELD_MISSING, "TikTok needs user.lead_id for crm events")
    is_known = source == "crm" or event.identity.digests.get(Form.EMAIL) or event.identity.digests.get(Form.PHONE_E164)
    known = STRONG_FIELDS if is_known else _user(event, settings, source, is_limited=False).keys()
    if not known - {"locale", "att_status"}:
        return Skip(Reason.IDENTIFIERS_MISSING, "nothing that tells TikTok who the customer is")
    is_weak = not known & STRONG_FIELDS and not {"ip", "user_agent"} <= known
    return Admit(until, DEDUP_WINDOW, DEDUP_WINDOW, _warnings(event, name, is_weak=is_weak))


def _warnings(event: HashedEvent, name: str, *, is_weak: bool) -> tuple[Warn, ...]:
    data = event.custom_data
    warnings = []
    if is_weak:
        warnings.append(Warn("identifiers_weak", "/user", "TikTok will hardly match an event with so little"))
    if name in ("Purchase", "CompletePayment") and event.money is None:
        warnings.append(Warn("money_missing", "/custom_data", "without value and currency TikTok counts no revenue"))
    if data.currency and data.currency not in CURRENCIES:
        warnings.append(Warn("currency_unlisted", "/custom_data/currency", "not on TikTok's list of currencies"))
    if event.is_custom and LOOKALIKES.fullmatch(name):
        warnings.append(Warn("event_name_reserved", "/event_name", "TikTok turns this name into a standard event"))
    if any(not line.id for line in data.contents):
        warnings.append(Warn("content_dropped", "/custom_data/contents", "lines without an id are left out"))
    if data.properties:
        warnings.append(Warn("properties_dropped", "/custom_data/properties", "TikTok takes no free data"))
    return tuple(warnings)


def build(deliveries: Sequence[Delivery], settings: TikTokSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: one event source each, test events apart from live ones."""
    calls = []
    groups = grouped(deliveries, lambda d: (_route(d.event, settings), d.event.is_test))
    for (route, is_test), group in groups.items():
        if route is None:
            raise DestinationError("no event source of TikTok is configured for a delivery's action_source")
        if is_test and settings.test_event_code is None:
            raise DestinationError("a test event has no way to TikTok without test_event_code")
        envelope = tidy(
            {
                "event_source": route[0],
                "event_source_id": route[1],
                "test_event_code": settings.test_event_code if is_test else None,
            }
        )
        head = orjson.dumps(envelope)[:-1] + b',"data":['
        items = [(delivery, orjson.dumps(_event(delivery, settings, route[0]))) for delivery in group]
        calls += [
            HttpCall(
                url=f"{settings.base_url}/open_api/{settings.api_version}/event/track/",
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                secret_headers={"access-token": settings.access_token.get_secret_value()},
            )
            for batch, body in pack(items, LIMITS, head, b"]}")
        ]
    return calls


def _event(delivery: Delivery, settings: TikTokSettings, source: EventSource) -> dict[str, Any]:
    event = delivery.event
    record: dict[str, Any] = {
        "event": _name(event, settings, source) or event.event_name,
        "event_time": unix_seconds(event),
        "event_id": delivery.event_id,
        "user": _user(event, settings, source, is_limited=delivery.limited),
        "properties": _properties(event, source),
    }
    if source == "web":
        record["page"] = tidy({"url": event.event_source_url, "referrer": event.referrer_url})
    elif source == "app":
        record["app"] = tidy(
            {
                "app_id": settings.app_id,
                "app_name": app_text(event, "app_name"),
                "app_version": app_text(event, "app_version"),
            }
        )
    elif source == "crm":
        record["lead"] = tidy({"lead_id": event.identity.lead_id, "lead_event_source": settings.lead_event_source})
    if delivery.limited:
        record["limited_data_use"] = True
    return tidy(record)


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What TikTok's answer means for each of these deliveries: the code in the body, before the HTTP status."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        return unreadable(reply, size)
    code = as_code(body.get("code"))
    trace_id = body.get("request_id") if isinstance(body.get("request_id"), str) else None
    detail = described(code, body.get("message"))
    after = retry_after(reply.headers)
    if code is None:
        return each(Retry(Reason.PLATFORM_ERROR, after, "no code in the body", is_ambiguous=reply.status < 300), size)
    if code in (0, PARTLY_OK, DUPLICATE):
        if reply.status >= 400 and code != DUPLICATE:
            return each(Retry(Reason.PLATFORM_ERROR, after, f"{detail}, HTTP {reply.status}", is_ambiguous=True), size)
        return each(Delivered(trace_id, detail if code else None), size)
    if code in THROTTLED:
        return each(Retry(Reason.RATE_LIMITED, after or THROTTLED[code], detail), size)
    if code in CREDENTIALS or code in PERMISSION or code in RETIRED:
        return Park(Reason.CREDENTIALS, detail)
    if code in TRANSIENT or 51000 <= code <= 52999:  # the SDK's table: internal calls and storage
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if code in EVENT_AT_FAULT or reply.status == 413:
        return isolate(size, detail, named_positions(size, body.get("message")), trace_id)
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if reply.status >= 500:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if code >= 50000:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail, max_attempts=UNKNOWN_ANSWER_ATTEMPTS), size)
    return unknown(size, detail, after)


DESTINATION = Destination(
    name="tiktok",
    settings=TikTokSettings,
    limits=LIMITS,
    needs=frozenset({Form.EMAIL, Form.PHONE_E164, Form.EXTERNAL_ID, *PERSONAL_FIELDS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test_event_code is not None,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
)
