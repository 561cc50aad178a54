"""Snapchat Conversions API v3: events of a pixel (web and offline) or of an app.

Documented at developers.snap.com/marketing-api/Conversions-API, read 2026-11-20; the page
`docs/destinations/snapchat.md` has the field tables and says how sure each rule is. The token has no other place
than the query. Snap publishes no list of error codes and one status per request, so a refused batch is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import orjson
from pydantic import Field, model_validator

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
    each,
    gate_age,
    grouped,
    hashed,
    isolate,
    json_object,
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
    max_items=2000,  # Get started, second-hand
    max_bytes=2_000_000,  # not published; a peer's figure
)

NAMES = frozenset(  # Parameters, second-hand, several copies agree
    (
        "PURCHASE SAVE START_CHECKOUT ADD_CART VIEW_CONTENT ADD_BILLING SIGN_UP SEARCH PAGE_VIEW SUBSCRIBE AD_CLICK "
        "AD_VIEW COMPLETE_TUTORIAL LEVEL_COMPLETE INVITE LOGIN SHARE RESERVE ACHIEVEMENT_UNLOCKED ADD_TO_WISHLIST "
        "SPENT_CREDITS RATE START_TRIAL LIST_VIEW APP_INSTALL APP_OPEN CUSTOM_EVENT_1 CUSTOM_EVENT_2 CUSTOM_EVENT_3 "
        "CUSTOM_EVENT_4 CUSTOM_EVENT_5"
    ).split()
)
EVENT_NAMES = {  # same meaning
    "Purchase": "PURCHASE",
    "AddToCart": "ADD_CART",
    "InitiateCheckout": "START_CHECKOUT",
    "AddPaymentInfo": "ADD_BILLING",
    "AddToWishlist": "ADD_TO_WISHLIST",
    "ViewContent": "VIEW_CONTENT",
    "Search": "SEARCH",
    "PageView": "PAGE_VIEW",
    "Subscribe": "SUBSCRIBE",
    "StartTrial": "START_TRIAL",
    "CompleteRegistration": "SIGN_UP",
    "Lead": "SIGN_UP",  # Snap has no lead event; its own tag template maps leads so
}
# Parameters, documented: keys of hashed values. What limited use can do without stands apart.
STRONG_KEYS = {"em": Form.EMAIL, "ph": Form.PHONE_DIGITS, "external_id": Form.EXTERNAL_ID_LOWER}
PERSONAL_KEYS = {
    "fn": Form.FIRST_NAME_LETTERS,
    "ln": Form.LAST_NAME_LETTERS,
    "ge": Form.GENDER,
    "ct": Form.CITY,
    "st": Form.STATE,
    "zp": Form.ZIP_GB_SECTOR,
    "country": Form.COUNTRY,
}
CURRENCIES = frozenset(  # Parameters, second-hand
    (
        "AED ALL AUD BGN BHD BRL CAD CHF CLP CNY COP CZK DKK DZD EGP EUR GBP GHS GIP HKD HRK HUF IDR ILS INR IQD ISK "
        "JOD JPY KES KRW KWD KZT LBP MAD MXN MYR NGN NOK NZD OMR PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TRY TWD "
        "TZS UAH USD VND XOF ZAR"
    ).split()
)
ORDER_REPEATS = timedelta(days=30)  # Deduplication, documented: a PURCHASE by its order_id

TAKEN = frozenset({"VALID", "SUCCESS"})  # OpenAPI of the official SDK; SUCCESS was v2's word
_TOKEN_REFUSED = re.compile(  # a dead token was seen to come as a plain 400 (segment-docs pull request 5173)
    r"(?i)\b(invalid|expired|revoked|missing)\s+(access[ _]?)?token\b"
    r"|\baccess[ _]?token\b.{0,40}\b(invalid|expired|revoked)"
)


class SnapchatSettings(MappedSettings):
    """One pixel, one app, or both, at Snapchat."""

    base_url: str = Field("https://tr.snapchat.com", description="Origin of the Conversions API.")
    api_version: str = Field("v3", pattern=r"^v[0-9]{1,2}$", description="API version.")
    pixel_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Pixel id: takes website and offline events."
    )
    snap_app_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Snap App id: takes app events."
    )
    access_token: Token = Field(description="Conversions API token of the organization that owns them.")
    test: bool = Field(
        False, description="Take events posted with `test: true`, and only validate them. Live events stay live."
    )
    custom_event_names: dict[str, str] = Field(
        {}, description="Which CUSTOM_EVENT_1 to CUSTOM_EVENT_5 stands for an event Snapchat has no name for."
    )
    integration: str | None = Field(
        "convey", pattern=r"^[\x21-\x7e]{1,64}$", description="Name of the sender in Snapchat's logs."
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest web or app event to send.")
    max_age_offline: Duration = Field(timedelta(days=28), gt=timedelta(0), description="The same for offline events.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.pixel_id or self.snap_app_id):
            raise ValueError("needs pixel_id, snap_app_id or both")
        if not all(re.fullmatch("CUSTOM_EVENT_[1-5]", name) for name in self.custom_event_names.values()):
            raise ValueError("custom_event_names must name CUSTOM_EVENT_1 to CUSTOM_EVENT_5")
        if not NAMES.issuperset(self.event_names.values()):
            raise ValueError("event_names must name events of Snapchat's own list")
        return self


def _name(event: HashedEvent, settings: SnapchatSettings) -> str | None:
    own = settings.custom_event_names.get(event.event_name)
    table = EVENT_NAMES if own is None else EVENT_NAMES | {event.event_name: own}
    return platform_name(event, settings, table, own)


def pixel_call(event: HashedEvent, event_id: str, settings: SnapchatSettings) -> str | None:
    """The pixel's call: `client_dedup_id`, and for an order `transaction_id` (Deduplication, documented)."""
    name = _name(event, settings) if settings.pixel_id else None
    if name is None:
        return None
    data = {"client_dedup_id": event_id, **money(event, "price"), "transaction_id": event.custom_data.order_id}
    return javascript("snaptr", "track", name, tidy(data))


def _action_source(event: HashedEvent) -> str:
    return {"website": "WEB", "app": "MOBILE_APP"}.get(event.action_source, "OFFLINE")  # Parameters, documented


def _asset(event: HashedEvent, settings: SnapchatSettings) -> str | None:
    """The pixel takes web and offline events, the app takes its own (Migration guide, documented)."""
    return settings.snap_app_id if event.action_source == "app" else settings.pixel_id


def _user_data(event: HashedEvent, *, is_limited: bool) -> dict[str, Any]:
    identity = event.identity
    user: dict[str, Any] = {key: hashed(identity, form) for key, form in STRONG_KEYS.items()}
    if not is_limited:
        user |= {key: hashed(identity, form) for key, form in PERSONAL_KEYS.items()}
    user |= {
        "client_ip_address": identity.client_ip_address,
        "client_user_agent": identity.client_user_agent,
        "sc_click_id": identity.sc_click_id,
        "sc_cookie1": identity.sc_cookie1,
        "subscription_id": event.custom_data.subscription_id,
        "lead_id": identity.lead_id,
    }
    if event.action_source == "app":
        user |= {"madid": _madid(event), "idfv": uuid_text(identity.idfv)}
    return tidy(user)


def _madid(event: HashedEvent) -> str | None:
    identity = event.identity
    return (uuid_text(identity.idfa) or uuid_text(identity.gaid)) if event.action_source == "app" else None


def _order_id(event: HashedEvent) -> str | None:
    """The order id, unless the event is one of several of that order: Snap would take the second for a repeat."""
    return event.custom_data.order_id if event.occurrence is None else None


def _custom_data(event: HashedEvent) -> dict[str, Any]:
    data = event.custom_data
    lines = [
        tidy({"id": line.id, "quantity": line.quantity, "item_price": number(line.item_price), "brand": line.brand})
        for line in data.contents
        if line.id
    ]
    return tidy(
        {
            "currency": data.currency,
            "value": number(data.value),
            "order_id": _order_id(event),
            "content_ids": [line.id for line in data.contents if line.id],
            "content_type": data.content_type,
            "content_category": data.content_category,
            "content_name": data.content_name,
            "contents": lines,
            "num_items": data.num_items,
            "search_string": data.search_string,
            "predicted_ltv": number(data.predicted_ltv),
            "custom_fields": scalars(data.properties),
        }
    )


def _app_data(event: HashedEvent) -> dict[str, Any]:
    if event.action_source != "app":
        return {}
    texts = "app_id campaign_ids install_referrer installer_package windows_attribution_id".split()
    return tidy(
        {key: app_text(event, key) for key in texts}
        | {
            "advertiser_tracking_enabled": app_flag(event, "advertiser_tracking_enabled"),
            "extinfo": app_extinfo(event),
        }
    )


def can_limit(event: HashedEvent, settings: SnapchatSettings) -> bool:
    """Whether limited use can be asked for: of website events only (second-hand)."""
    return event.action_source == "website"


def admit(event: HashedEvent, settings: SnapchatSettings, now: datetime) -> Admission:
    """Whether and until when Snapchat takes this event."""
    name = _name(event, settings)
    if not name:
        return Skip(Reason.EVENT_NOT_SUPPORTED, "Snapchat has no name for this event; custom_event_names can give one")
    if _asset(event, settings) is None:
        return Skip(
            Reason.EVENT_NOT_SUPPORTED, f"neither pixel nor app is configured for action_source {event.action_source}"
        )
    source = _action_source(event)
    window = settings.max_age_offline if source == "OFFLINE" else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    missing = _missing(event, name)
    if missing:
        return Skip(Reason.REQUIRED_FIELD_MISSING, f"Snapchat needs {', '.join(missing)}")
    identity = event.identity
    has_device = bool(identity.client_ip_address and identity.client_user_agent)
    has_hash = identity.digests.get(Form.EMAIL) or identity.digests.get(Form.PHONE_DIGITS)
    if not (has_hash or has_device or _madid(event)):
        return Skip(
            Reason.IDENTIFIERS_MISSING,
            "Snapchat needs an e-mail, a phone number, IP address and user agent, or an app's advertising id",
        )
    repeats = ORDER_REPEATS if name == "PURCHASE" and _order_id(event) else DEDUP_WINDOW
    return Admit(until, repeats, repeats, _warnings(event))


def _missing(event: HashedEvent, name: str) -> list[str]:
    """What Using the API and Verify set-up document as required."""
    missing = []
    if event.action_source == "website" and not event.event_source_url:
        missing.append("event_source_url")
    if name == "PURCHASE" and event.money is None:
        missing.append("custom_data.value and custom_data.currency")
    if event.action_source == "app" and not _app_data(event):
        missing.append("app (app.app_id at least)")
    return missing


def _warnings(event: HashedEvent) -> tuple[Warn, ...]:
    data = event.custom_data
    warnings = []
    if event.action_source == "app":
        warnings += [
            Warn("field_missing", f"/app/{key}", f"Snapchat asks for app.{key}")
            for key in ("app_id", "extinfo")
            if key not in _app_data(event)
        ]
    if data.currency and data.currency not in CURRENCIES:
        warnings.append(Warn("currency_unlisted", "/custom_data/currency", "not on Snapchat's list of currencies"))
    if any(not line.id for line in data.contents):
        warnings.append(Warn("content_dropped", "/custom_data/contents", "lines without an id are left out"))
    if len(scalars(data.properties)) < len(data.properties):
        warnings.append(Warn("properties_dropped", "/custom_data/properties", "only flat values reach Snapchat"))
    return tuple(warnings)


def build(deliveries: Sequence[Delivery], settings: SnapchatSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: one asset each, test events apart from live ones."""
    calls = []
    groups = grouped(deliveries, lambda d: (_asset(d.event, settings), d.event.is_test))
    for (asset, is_test), group in groups.items():
        if asset is None:
            raise DestinationError("no asset of Snapchat is configured for a delivery's action_source")
        if is_test and not settings.test:
            raise DestinationError("a test event has no way to Snapchat without the test setting")
        items = [(delivery, orjson.dumps(_event(delivery, settings))) for delivery in group]
        url = f"{settings.base_url}/{settings.api_version}/{asset}/events"
        calls += [
            HttpCall(
                url=f"{url}/validate" if is_test else url,
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                secret_params={"access_token": settings.access_token.get_secret_value()},
            )
            for batch, body in pack(items, LIMITS, b'{"data":[', b"]}")
        ]
    return calls


def _event(delivery: Delivery, settings: SnapchatSettings) -> dict[str, Any]:
    event = delivery.event
    name = _name(event, settings)
    if name is None:
        raise DestinationError("Snapchat has no name for a delivery's event any more")
    return tidy(
        {
            "event_name": name,
            "event_time": unix_seconds(event),
            "action_source": _action_source(event),
            "event_source_url": event.event_source_url,
            "event_id": delivery.event_id,
            "integration": settings.integration,
            "user_data": _user_data(event, is_limited=delivery.limited),
            "custom_data": _custom_data(event),
            "app_data": _app_data(event),
            "data_processing_options": ["LMU"] if delivery.limited else None,
        }
    )


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Snapchat's answer means for each of these deliveries: 2xx and VALID in the body, or not delivered."""
    size = len(deliveries)
    after = retry_after(reply.headers)
    body = json_object(reply)
    if body is None:
        if reply.status in (401, 403) and not reply.body.lstrip().startswith(b"<"):
            return Park(Reason.CREDENTIALS, f"HTTP {reply.status}")
        return unreadable(reply, size)
    status = body.get("status")
    verdict = status.upper() if isinstance(status, str) else None
    detail = _detail(body, reply)
    if verdict in TAKEN and 200 <= reply.status < 300:
        return each(Delivered(), size)
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if reply.status == 408 or reply.status >= 500:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if reply.status in (401, 403, 404, 410) or _TOKEN_REFUSED.search(_words(body)):
        return Park(Reason.CREDENTIALS, detail)
    if verdict == "INVALID" or reply.status in (400, 413, 422):
        return isolate(size, detail, _suspects(body, size))
    if reply.status < 300:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail, is_ambiguous=True), size)
    return unknown(size, detail, after)


def _words(body: Mapping[str, Any]) -> str:
    errors = body.get("errors")
    messages = errors.get("error_msgs") if isinstance(errors, dict) else None
    texts = [body.get("reason"), *(messages if isinstance(messages, list) else ())]
    return "; ".join(text for text in texts if isinstance(text, str))


def _detail(body: Mapping[str, Any], reply: HttpReply) -> str:
    """Codes rather than texts, where there are codes: the texts may repeat what was sent."""
    errors = body.get("errors")
    codes = errors.get("codes") if isinstance(errors, dict) else None
    known = [str(code) for code in codes if as_code(code) is not None] if isinstance(codes, list) else []
    if known:
        return f"HTTP {reply.status}, codes {', '.join(known[:10])}"
    return ": ".join(part for part in (f"HTTP {reply.status}", scrub(body.get("reason"))) if part)


def _suspects(body: Mapping[str, Any], size: int) -> tuple[int, ...]:
    """Positions the answer may mean: whether it counts from 0 or from 1 is not established, so both."""
    logs = body.get("event_logs")
    named = [body.get("event")]
    if isinstance(logs, list):
        named += [log.get("event") for log in logs if isinstance(log, dict) and log.get("status") != "VALID"]
    found = [code for entry in named if (code := as_code(entry)) is not None]
    both = [position for index in found for position in (index - 1, index)]
    return tuple(dict.fromkeys(position for position in both if 0 <= position < size))


DESTINATION = Destination(
    name="snapchat",
    settings=SnapchatSettings,
    limits=LIMITS,
    needs=frozenset({*STRONG_KEYS.values(), *PERSONAL_KEYS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
)
