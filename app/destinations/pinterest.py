"""Pinterest API for Conversions, v5: events of an ad account.

Documented in pinterest/api-description (v5/openapi.json, 5.23.0) and at developers.pinterest.com, read 2026-11-20;
the page `docs/destinations/pinterest.md` has the field tables and says how sure each rule is. The schema is closed:
one unknown key, null or wrong type refuses the whole request. What passes it is judged event by event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import Field

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
    app_system,
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
    pack,
    plain,
    platform_name,
    retry_after,
    scrub,
    tidy,
    unix_seconds,
    unknown,
    unreadable,
)
from app.destinations.pixel import javascript, money
from app.errors import DestinationError, Reason
from app.model import (
    Delivered,
    Delivery,
    Form,
    HashedEvent,
    HttpCall,
    HttpReply,
    Park,
    Rejected,
    Result,
    Retry,
    Split,
    Warn,
)
from app.units import Duration

LIMITS = Limits(
    max_items=1000,  # OpenAPI description, documented
    max_bytes=1_000_000,  # not documented; chosen
)
TEST_LIMITS = Limits(
    max_items=20,  # rate limits page, second-hand: of a test request only the first 20 events are processed
    max_bytes=1_000_000,
)

EVENT_NAMES = {  # OpenAPI description 5.23.0, documented, unless noted
    "Purchase": "checkout",
    "Lead": "lead",
    "AddToCart": "add_to_cart",
    "InitiateCheckout": "initiate_checkout",
    "AddPaymentInfo": "add_payment_info",
    "AddToWishlist": "add_to_wishlist",
    "CompleteRegistration": "signup",
    "ViewContent": "view_content",
    "PageView": "page_visit",
    "Search": "search",
    "Subscribe": "subscribe",
    "StartTrial": "start_trial",  # conversions guide, second-hand, as are the next five
    "Contact": "contact",
    "Schedule": "schedule",
    "SubmitApplication": "submit_application",
    "FindLocation": "find_location",
    "CustomizeProduct": "customize_product",
    "Donate": "custom",
}
CUSTOM_NAME = "custom"  # OpenAPI description, documented

# OpenAPI description, documented: keys of hashed values. Limited data processing needs state and country; what it can
# do without stands apart.
KEPT_KEYS = {
    "em": Form.EMAIL,
    "ph": Form.PHONE_DIGITS,
    "st": Form.STATE_TWO_LETTER,
    "country": Form.COUNTRY,
    "external_id": Form.EXTERNAL_ID,
    "hashed_maids": Form.AD_ID,
}
PERSONAL_KEYS = {
    "fn": Form.FIRST_NAME_PUNCTUATED,
    "ln": Form.LAST_NAME_PUNCTUATED,
    "ge": Form.GENDER_WITH_NEUTRAL,
    "db": Form.BIRTH_DATE,
    "ct": Form.CITY,
    "zp": Form.ZIP_DIGITS,
}

# Codes of the OpenAPI description's samples, documented; their classes are inferred.
INVALID_REQUEST = 4196
RATE_LIMITED = 8
RAMPED_DOWN = 4197
RAMPED_DOWN_WAIT = timedelta(minutes=15)  # inferred: the endpoint is switched off for now
CREDENTIALS = frozenset({2, 3, 29})  # authentication failed, scope missing (seen in an issue), no permission


class PinterestSettings(MappedSettings):
    """One ad account at Pinterest."""

    base_url: str = Field("https://api.pinterest.com", description="Origin of the API.")
    api_version: str = Field("v5", pattern=r"^v[0-9]{1,2}$", description="API version.")
    ad_account_id: str = Field(pattern=r"^[0-9]{1,18}$", description="Ad account id.")
    access_token: Token = Field(description="Conversion access token, or OAuth token with ads:write.")
    test: bool = Field(
        False, description="Take events posted with `test: true`, in test requests. Live events stay live."
    )
    partner_name: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,64}$", description="Only when Pinterest gave you one, such as ss-company."
    )
    send_customer_type: bool = Field(
        False, description="Send new/returning; known to newer versions of the schema only, others refuse the request."
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest event to send.")


def _action_source(event: HashedEvent) -> str | None:
    if event.action_source == "website":
        return "web"
    if event.action_source == "app":
        system = app_system(event)
        return f"app_{system}" if system else None
    return "offline"


def _name(event: HashedEvent, settings: PinterestSettings) -> str | None:
    return platform_name(event, settings, EVENT_NAMES, CUSTOM_NAME)


def pixel_call(event: HashedEvent, event_id: str, settings: PinterestSettings) -> str | None:
    """The tag's call. The tag writes the API's names without underscores (`add_to_cart` is `addtocart`)."""
    name = _name(event, settings)
    if name is None:
        return None
    data = tidy({"event_id": event_id, **money(event), "order_id": event.custom_data.order_id})
    return javascript("pintrk", "track", name.replace("_", ""), data)


def _user_data(event: HashedEvent, settings: PinterestSettings, *, is_limited: bool) -> dict[str, Any]:
    identity = event.identity
    user: dict[str, Any] = {key: hashed(identity, form) for key, form in KEPT_KEYS.items()}
    if not is_limited:
        user |= {key: hashed(identity, form) for key, form in PERSONAL_KEYS.items()}
    customer_type = identity.customer_type if settings.send_customer_type else None
    user |= {
        "client_ip_address": identity.client_ip_address,
        "client_user_agent": identity.client_user_agent,
        "click_id": identity.epik,
        "customer_type": customer_type if customer_type in ("new", "returning") else None,
    }
    return tidy(user)


def _custom_data(event: HashedEvent, *, is_limited: bool) -> dict[str, Any]:
    data = event.custom_data
    lines = [
        tidy(
            {
                "id": line.id,
                "item_name": line.title,
                "item_category": line.category,
                "item_brand": line.brand,
                "item_price": None if line.item_price is None else plain(line.item_price),
                "quantity": line.quantity,
            }
        )
        for line in data.contents
    ]
    return tidy(
        {
            "currency": data.currency,
            "value": None if data.value is None else plain(data.value),
            "content_ids": [line.id for line in data.contents if line.id],
            "contents": [line for line in lines if line],
            "num_items": data.num_items,
            "order_id": data.order_id,
            "search_string": data.search_string,
            "content_name": data.content_name,
            "content_category": data.content_category,
            "predicted_ltv": None if data.predicted_ltv is None else plain(data.predicted_ltv),
            "opt_out_type": "LDP" if is_limited else None,
        }
    )


def can_limit(event: HashedEvent, settings: PinterestSettings) -> bool:
    """Whether limited data processing can be asked for: Pinterest must be told the state and the country."""
    digests = event.identity.digests
    return bool(digests.get(Form.STATE_TWO_LETTER) and digests.get(Form.COUNTRY))


def admit(event: HashedEvent, settings: PinterestSettings, now: datetime) -> Admission:
    """Whether and until when Pinterest takes this event."""
    name, source = _name(event, settings), _action_source(event)
    if not name:
        return Skip(Reason.EVENT_NOT_SUPPORTED, "Pinterest has no name for this event")
    if source is None:
        return Skip(Reason.EVENT_NOT_SUPPORTED, "neither app.os nor an advertising id tells iOS from Android")
    until = gate_age(event, settings.max_age, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    identity = event.identity
    has_device = bool(identity.client_ip_address and identity.client_user_agent)
    if not (identity.digests.get(Form.EMAIL) or identity.digests.get(Form.AD_ID) or has_device):
        return Skip(
            Reason.IDENTIFIERS_MISSING, "Pinterest needs an e-mail, an advertising id, or IP address and user agent"
        )
    warnings = _warnings(event, name)
    if source == "offline":  # OpenAPI description, documented: offline events are never deduplicated
        return Admit(until, timedelta(0), timedelta(0), warnings)
    return Admit(until, DEDUP_WINDOW, DEDUP_WINDOW, warnings)


def _warnings(event: HashedEvent, name: str) -> tuple[Warn, ...]:
    data = event.custom_data
    warnings = []
    if event.action_source == "website" and not event.event_source_url:
        warnings.append(Warn("field_missing", "/event_source_url", "Pinterest advises the URL for website events"))
    if name == "checkout" and event.money is None:
        warnings.append(Warn("money_missing", "/custom_data", "without value and currency Pinterest counts no revenue"))
    if data.properties:
        warnings.append(Warn("properties_dropped", "/custom_data/properties", "Pinterest takes no free data"))
    return tuple(warnings)


def build(deliveries: Sequence[Delivery], settings: PinterestSettings) -> list[HttpCall]:
    """The requests that carry these deliveries, test events apart from live ones."""
    calls = []
    for is_test, group in grouped(deliveries, lambda d: d.event.is_test).items():
        if is_test and not settings.test:
            raise DestinationError("a test event has no way to Pinterest without the test setting")
        items = [(delivery, orjson.dumps(_event(delivery, settings))) for delivery in group]
        url = f"{settings.base_url}/{settings.api_version}/ad_accounts/{settings.ad_account_id}/events"
        calls += [
            HttpCall(
                url=f"{url}?test=true" if is_test else url,
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                secret_headers={"authorization": f"Bearer {settings.access_token.get_secret_value()}"},
            )
            for batch, body in pack(items, TEST_LIMITS if is_test else LIMITS, b'{"data":[', b"]}")
        ]
    return calls


def _event(delivery: Delivery, settings: PinterestSettings) -> dict[str, Any]:
    event = delivery.event
    return tidy(
        {
            "event_name": _name(event, settings) or CUSTOM_NAME,
            "action_source": _action_source(event) or "offline",
            "event_time": unix_seconds(event),
            "event_id": delivery.event_id,
            "event_source_url": event.event_source_url,
            "partner_name": settings.partner_name,
            "opt_out": True if delivery.limited else None,
            "user_data": _user_data(event, settings, is_limited=delivery.limited),
            "custom_data": _custom_data(event, is_limited=delivery.limited),
            "language": _language(event.identity.locale),
            "app_id": app_text(event, "app_id"),
            "app_name": app_text(event, "app_name"),
            "app_version": app_text(event, "app_version"),
            "os_version": app_text(event, "os_version"),
        }
    )


def _language(locale: str | None) -> str | None:
    """The two-letter language of a locale such as en-US."""
    match = re.match(r"([A-Za-z]{2})(?![A-Za-z])", locale or "")
    return match[1].lower() if match else None


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Pinterest's answer means for each of these deliveries: a verdict per event, with 200 and with 422."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        return unreadable(reply, size)
    details = body.get("details")
    verdicts = details if "events" not in body and isinstance(details, dict) else body
    if reply.status == 422 or (200 <= reply.status < 300 and ("events" in verdicts or "code" not in body)):
        return _read_verdicts(verdicts, body, reply, size)
    return _read_error(body, reply, size)


def _read_verdicts(
    verdicts: Mapping[str, Any], body: Mapping[str, Any], reply: HttpReply, size: int
) -> Sequence[Result] | Split:
    events = verdicts.get("events")
    if isinstance(events, list) and len(events) == size:
        return [_verdict(event) for event in events]
    if reply.status == 422 and verdicts.get("num_events_processed") == 0:
        return isolate(size, described(body.get("code"), body.get("message")))
    detail = f"HTTP {reply.status} without one verdict per event"
    unsure = Retry(Reason.PLATFORM_ERROR, None, detail, max_attempts=UNKNOWN_ANSWER_ATTEMPTS, is_ambiguous=True)
    return each(unsure, size)


def _verdict(event: Any) -> Result:
    status = event.get("status") if isinstance(event, dict) else None
    if status == "processed":
        return Delivered(warning=scrub(event.get("warning_message")))
    if status == "failed":
        return Rejected(detail=scrub(event.get("error_message")) or "failed, without a word why")
    return Retry(
        Reason.PLATFORM_ERROR,
        detail="an event's status is neither processed nor failed",
        max_attempts=UNKNOWN_ANSWER_ATTEMPTS,
        is_ambiguous=True,
    )


def _read_error(body: Mapping[str, Any], reply: HttpReply, size: int) -> Sequence[Result] | Split | Park:
    code = as_code(body.get("code"))
    detail = described(code, body.get("message"))
    after = retry_after(reply.headers) or _reset(reply.headers)
    if code == RATE_LIMITED or reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if code == RAMPED_DOWN:
        return each(Retry(Reason.PLATFORM_ERROR, after or RAMPED_DOWN_WAIT, detail), size)
    if reply.status >= 500 or reply.status == 408:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if code in CREDENTIALS or reply.status in (401, 403, 404):
        return Park(Reason.CREDENTIALS, detail)
    if code == INVALID_REQUEST or reply.status in (400, 413):  # refused as a whole, documented
        return isolate(size, detail, named_positions(size, body.get("message")))
    return unknown(size, detail, after)


def _reset(headers: Mapping[str, str]) -> timedelta | None:
    """Seconds until the limit is reset, as measured: `X-RateLimit-Reset: 12`, perhaps with more after a comma."""
    match = re.match(r"\s*([0-9]{1,6})\b", headers.get("x-ratelimit-reset", ""))
    return timedelta(seconds=int(match[1])) if match else None


DESTINATION = Destination(
    name="pinterest",
    settings=PinterestSettings,
    limits=LIMITS,
    needs=frozenset({*KEPT_KEYS.values(), *PERSONAL_KEYS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
)
