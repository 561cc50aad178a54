"""One event in the Data Manager API's words, and whether Google can have it at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from app.destinations.base import (
    Admission,
    Admit,
    Skip,
    as_text,
    assigned,
    gate_age,
    hashed,
    misfits,
    number,
    scalars,
    tidy,
    unassigned,
    uuid_text,
)
from app.destinations.google.settings import EVENT_SOURCES, REFUND, GoogleSettings
from app.destinations.pixel import javascript, money
from app.errors import DestinationError, Reason
from app.model import Delivery, Form, HashedEvent, Warn

MAX_IDENTIFIERS = 10  # limits, documented
CLICKLESS_AGE = timedelta(days=63)  # enhanced conversions for leads, seen in peers citing Google's help
CUSTOMER_TYPES = {"new": "NEW", "returning": "RETURNING"}


def admit(event: HashedEvent, settings: GoogleSettings, now: datetime) -> Admission:
    """Whether and until when Google takes this event."""
    if settings.action(event.event_name) is None:
        return Skip(Reason.EVENT_NOT_SUPPORTED, "conversion_actions names no conversion action for this event")
    is_refund = event.event_name == REFUND
    window = settings.adjustment_window if is_refund else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    is_recognised = event.action_source not in settings.without_deduplication
    if is_refund and not is_recognised:
        return Skip(Reason.EVENT_NOT_SUPPORTED, f"Google adjusts no conversions of action_source {event.action_source}")
    if is_refund and event.transaction is None:
        return Skip(Reason.REQUIRED_FIELD_MISSING, "a Refund needs the transaction_id of its Purchase")
    if not (_user_identifiers(event) or _ad_identifiers(event, settings)):
        return Skip(Reason.IDENTIFIERS_MISSING, "Google needs an e-mail, a phone number or a click id")
    repeat_for = settings.adjustment_window if is_recognised else timedelta(0)
    return Admit(until, settings.adjustment_window, repeat_for, tuple(_warnings(event, settings, now)))


def _warnings(event: HashedEvent, settings: GoogleSettings, now: datetime) -> list[Warn]:
    data, identity = event.custom_data, event.identity
    warnings = []
    if event.event_name == "Purchase" and event.money is None:
        warnings.append(Warn("money_missing", "/custom_data", "without value and currency Google counts no revenue"))
    if sum(1 for click_id in (identity.gclid, identity.gbraid, identity.wbraid) if click_id) > 1:
        warnings.append(Warn("click_id_dropped", "/user", "Google takes one of gclid, gbraid and wbraid: the first"))
    if _has_braid(event):
        if settings.merchant_id and data.contents:
            warnings.append(
                Warn("cart_dropped", "/custom_data/contents", "Google takes no basket with gbraid or wbraid")
            )
        if _custom_variables(event, settings):
            words = "Google takes no custom variables with gbraid or wbraid"
            warnings.append(Warn("properties_dropped", "/custom_data/properties", words))
    if event.event_time < now - CLICKLESS_AGE and not _click_id(event):
        words = "without a click id Google is said to take events of up to 63 days"
        warnings.append(Warn("old_without_click_id", "/event_time", words))
    if event.transaction is None or (event.occurrence and event.event_name != REFUND):
        words = "the event_id is sent as transactionId: where the Google tag fires too, it must carry the same"
        warnings.append(Warn("transaction_from_event_id", "/transaction_id", words))
    warnings += misfits(event, settings)
    if unassigned(event, settings).keys() - settings.custom_variables.keys():
        warnings.append(
            Warn("properties_dropped", "/custom_data/properties", "Google gets the properties that settings name")
        )
    return warnings


def transaction_id(delivery: Delivery) -> str:
    """What Google recognises the conversion by: the order id that the tag sends as well, byte for byte.

    A renewal or a second invoice is a conversion of its own, so it goes by its event_id; so does an event without
    any transaction key. A Refund names its Purchase.
    """
    return _transaction_id(delivery.event, delivery.event_id)


def _transaction_id(event: HashedEvent, event_id: str) -> str:
    if event.occurrence and event.event_name != REFUND:
        return event_id
    return event.transaction or event_id


TAG_EVENT = "conversion"
"""What Google's event snippet calls every conversion; which one it is, `send_to` says."""


def pixel_call(event: HashedEvent, event_id: str, settings: GoogleSettings) -> str | None:
    """The tag's call with the transaction_id that Google gets from here; None where no tag is configured."""
    tag = settings.tags.get(event.event_name)
    if tag is None or event.event_name == REFUND:
        return None
    data = {"send_to": tag, **money(event), "transaction_id": _transaction_id(event, event_id)}
    return javascript("gtag", "event", TAG_EVENT, data)


def pixel_name(event: HashedEvent, settings: GoogleSettings) -> str:
    """What the tag calls the event: each conversion is a `conversion`, told apart by where it is sent to."""
    return TAG_EVENT if event.event_name in settings.tags else event.event_name


def event_body(delivery: Delivery, settings: GoogleSettings, reference: str) -> dict[str, Any]:
    """The event as an item of `events`; `reference` names its conversion action within the request."""
    event = delivery.event
    if event.consent.ad_user_data is False:
        raise DestinationError("consent to the use of user data is refused: such an event must never reach Google")
    money = event.money
    identifiers = _user_identifiers(event)
    has_braid = _has_braid(event)
    body = tidy(
        {
            "destinationReferences": [reference],
            "transactionId": transaction_id(delivery),
            "eventTimestamp": _rfc3339(event.event_time),
            "eventSource": settings.event_sources.get(event.action_source) or EVENT_SOURCES[event.action_source],
            "adIdentifiers": _ad_identifiers(event, settings),
            "userData": {"userIdentifiers": identifiers} if identifiers else None,
            "currency": money[0] if money else None,
            "conversionValue": number(money[1]) if money else None,
            "eventDeviceInfo": _device(event),
            "cartData": None if has_braid else _cart(event, settings),
            "customVariables": None if has_braid else _custom_variables(event, settings),
            "consent": _consent(delivery),
            "userProperties": tidy({"customerType": CUSTOMER_TYPES.get(event.identity.customer_type or "")}),
        }
    )
    body = assigned(body, event, settings)
    if has_braid or "items" not in body.get("cartData", {}):
        body.pop("cartData", None)  # a coupon alone is no basket
    return body


def _rfc3339(instant: datetime) -> str:
    spec = "milliseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _click_id(event: HashedEvent) -> tuple[str, str] | None:
    """The one click id to send: the web's own first, then the one iOS leaves (lessons of other senders)."""
    identity = event.identity
    if identity.gclid:
        return "gclid", identity.gclid
    braids = [("gbraid", identity.gbraid), ("wbraid", identity.wbraid)]
    if event.action_source != "app":  # gbraid is the app's, wbraid the web's
        braids.reverse()
    return next(((name, value) for name, value in braids if value), None)


def _has_braid(event: HashedEvent) -> bool:
    click = _click_id(event)
    return click is not None and click[0] != "gclid"


def _ad_identifiers(event: HashedEvent, settings: GoogleSettings) -> dict[str, Any]:
    identity = event.identity
    click = _click_id(event)
    found: dict[str, Any] = dict([click]) if click else {}
    if event.action_source == "app":
        found["mobileDeviceId"] = uuid_text(identity.idfa) or uuid_text(identity.gaid)
    if settings.send_lead_id:
        found["leadId"] = identity.lead_id
    return tidy(found)


def _user_identifiers(event: HashedEvent) -> list[dict[str, Any]]:
    identity = event.identity
    found: list[dict[str, Any]] = [{"emailAddress": value} for value in hashed(identity, Form.EMAIL_GMAIL_FOLDED)]
    found += [{"phoneNumber": value} for value in hashed(identity, Form.PHONE_E164)]
    return found[:MAX_IDENTIFIERS]


def _device(event: HashedEvent) -> dict[str, Any]:
    identity = event.identity
    language = re.match(r"([A-Za-z]{2})(?![A-Za-z])", identity.locale or "")
    return tidy(
        {
            "userAgent": identity.client_user_agent,
            "ipAddress": identity.client_ip_address,
            "languageCode": language[1].lower() if language else None,
        }
    )


def _cart(event: HashedEvent, settings: GoogleSettings) -> dict[str, Any] | None:
    if settings.merchant_id is None:
        return None
    lines = [
        tidy(
            {
                "merchantProductId": line.id,
                "quantity": None if line.quantity is None else str(line.quantity),  # int64: text in JSON
                "unitPrice": number(line.item_price),
            }
        )
        for line in event.custom_data.contents
        if line.id
    ]
    if not lines:
        return None
    return tidy(
        {
            "merchantId": settings.merchant_id,
            "merchantFeedLabel": settings.merchant_feed_label,
            "merchantFeedLanguageCode": settings.merchant_feed_language,
            "items": lines,
        }
    )


def _custom_variables(event: HashedEvent, settings: GoogleSettings) -> list[dict[str, str]]:
    known = scalars(event.custom_data.properties)
    return [
        {"variable": variable, "value": text}
        for name, variable in settings.custom_variables.items()
        if (text := _text(known.get(name)))
    ]


def _consent(delivery: Delivery) -> dict[str, str]:
    facts = delivery.event.consent
    personal = False if delivery.limited else facts.ad_personalization
    states = {"adUserData": facts.ad_user_data, "adPersonalization": personal}
    return {
        name: "CONSENT_GRANTED" if state else "CONSENT_DENIED" for name, state in states.items() if state is not None
    }


def _text(value: Any) -> str | None:
    """A custom property as the text of a custom variable."""
    return str(value).lower() if isinstance(value, bool) else as_text(value)
