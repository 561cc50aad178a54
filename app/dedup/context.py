"""What the checkout page knew of an order, kept until the backend posts it, and how it completes the event. Pure.

The page sees click ids, browser ids, the shopper's address and agent, and the consent; the payment webhook that posts
the order later sees none of them. A context carries them over. The event's own fields win; the later consent wins.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from app import facts
from app.errors import Fault, InvalidEvent
from app.hashing.leaks import Policy as LeakPolicy
from app.hashing.leaks import find_in_id, guard_event
from app.wire import CheckoutContext, Consent, CustomData, Event


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of one order's checkout. `consent` is as the page sent it, judged only with the event."""

    kept_at: datetime
    user: dict[str, str] = {}
    event_source_url: str | None = None
    referrer_url: str | None = None
    consent: dict[str, Any] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Context)


def encode_context(context: Context) -> bytes:
    """The bytes under which every store engine keeps a context."""
    return _encoder.encode(context)


def decode_context(body: bytes) -> Context:
    """The context in `body`, as `encode_context` wrote it."""
    return _decoder.decode(body)


def kept_of(posted: CheckoutContext, policy: LeakPolicy, now: datetime) -> Context:
    """The context to keep of what a page posted at `now`, its URLs without personal data.

    Raises:
        InvalidEvent: It holds personal data where none may be; carries every fault, as pointers.
    """
    user: dict[str, str] = posted.user.model_dump(exclude_none=True)
    guarded = guard_event(CustomData(), posted.event_source_url, posted.referrer_url, policy)
    faults = list(guarded.faults)
    for field, value in user.items():
        kind = None if field in _FREE_TEXT else find_in_id(value)
        if kind is not None:
            words = f"holds what looks like personal data ({kind}); a context takes none"
            faults.append(Fault(f"/user/{field}", "personal_data", words))
    if faults:
        raise InvalidEvent(faults)
    return Context(
        kept_at=now,
        user=user,
        event_source_url=guarded.event_source_url,
        referrer_url=guarded.referrer_url,
        consent=posted.consent.model_dump(exclude_none=True),
    )


_FREE_TEXT = frozenset({"client_ip_address", "client_user_agent"})
"""What has digits of its own that look like numbers of a person."""


def completed(event: Event, context: Context) -> Event:
    """The event with what the context knows and it does not."""
    known = {field: value for field, value in context.user.items() if getattr(event.user, field) is None}
    changes: dict[str, Any] = {}
    if known:
        changes["user"] = event.user.model_copy(update=known)
    for field in ("event_source_url", "referrer_url"):
        value = getattr(context, field)
        if value is not None and getattr(event, field) is None and event.action_source == "website":
            changes[field] = value
    if context.consent and _is_later(context, event.consent):
        # Where the shopper lives is no signal: the event's word on it stands.
        where = {} if event.consent.jurisdiction is None else {"jurisdiction": event.consent.jurisdiction}
        changes["consent"] = Consent.model_validate({**context.consent, **where})
    return event.model_copy(update=changes) if changes else event


def _is_later(context: Context, consent: Consent) -> bool:
    """Whether the context's consent is the later one, or the only one.

    An event that says when its consent was collected is compared by that; one that does not was posted after the page
    was served, so its own consent is the later.
    """
    if all(getattr(consent, field) is None for field in _SIGNALS):
        return True
    collected = facts.instant(consent.collected_at)
    paged = facts.instant(context.consent.get("collected_at")) or context.kept_at
    return collected is not None and collected < paged


_SIGNALS = frozenset(Consent.model_fields) - {"collected_at", "jurisdiction"}
