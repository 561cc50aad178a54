"""Requests to Meta, and what its answers mean. Its texts are localised and never decide."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
from pydantic import SecretStr

from app.destinations.base import (
    Consequence,
    applied,
    as_code,
    described,
    each,
    grouped,
    isolate,
    json_object,
    named_positions,
    pack,
    retry_after,
    scrub,
    test_code,
    tidy,
    unknown,
    unreadable,
)
from app.destinations.meta.admission import lacks_user_agent
from app.destinations.meta.payload import record
from app.destinations.meta.settings import MetaSettings
from app.destinations.meta.tables import CODES, LIMITS, SUBCODES
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, HashedEvent, HttpCall, HttpReply, Park, Result, Retry, Split

FIRM = frozenset({Consequence.THROTTLED, Consequence.PARK})
"""What a code says even where Meta calls the error transient."""


def build(deliveries: Sequence[Delivery], settings: MetaSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: test events by their code, and what Meta may refuse, apart."""
    calls = []
    groups = grouped(
        deliveries, lambda d: (d.event.is_test, test_code(d, settings.test_event_code), _is_doubtful(d.event))
    )
    for (is_test, code, _), group in groups.items():
        if is_test and code is None:
            raise DestinationError("a test event has no way to Meta without test_event_code")
        extra = tidy(
            {
                "partner_agent": settings.partner_agent,
                "upload_tag": settings.upload_tag,
                "test_event_code": code,
            }
        )
        tail = b"]," + orjson.dumps(extra)[1:] if extra else b"]}"
        items = [(delivery, orjson.dumps(record(delivery, settings))) for delivery in group]
        calls += [
            HttpCall(
                url=f"{settings.base_url}/{settings.api_version}/{settings.pixel_id}/events",
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                **secrets_of(settings, settings.access_token),
            )
            for batch, body in pack(items, LIMITS, b'{"data":[', tail)
        ]
    return calls


def _is_doubtful(event: HashedEvent) -> bool:
    """Whether Meta may well refuse this event: as a batch is all or nothing, such events keep to themselves."""
    return event.action_source == "business_messaging" or lacks_user_agent(event)


def secrets_of(settings: MetaSettings, access_token: SecretStr) -> dict[str, Any]:
    """The parts of a call that show who asks."""
    token = access_token.get_secret_value()
    params = {"access_token": token} if settings.token_in_query else {}
    if settings.app_secret is not None:
        params["appsecret_proof"] = _proof(settings.app_secret, token)
    headers = {} if settings.token_in_query else {"authorization": f"Bearer {token}"}
    return {"secret_headers": headers, "secret_params": params}


def _proof(app_secret: SecretStr, token: str) -> str:
    """Graph API, Securing requests: lower hex of HMAC-SHA256 with the app secret as key."""
    return hmac.new(app_secret.get_secret_value().encode(), token.encode(), hashlib.sha256).hexdigest()


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Meta's answer means for each of these deliveries, in order."""
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
    """The code decides, and for 100 its subcode, but for what Meta calls transient; then the HTTP status."""
    code, subcode = as_code(error.get("code")), as_code(error.get("error_subcode"))
    ruling = CODES.get(code) if code is not None else None
    if code == 100 and subcode is not None:
        ruling = SUBCODES.get(subcode, ruling)
    shown = code if subcode is None else f"{code}/{subcode}"
    detail = described(shown, error.get("message"), ruling.meaning if ruling else None)
    trace_id = error.get("fbtrace_id") if isinstance(error.get("fbtrace_id"), str) else None
    after = _regain(reply.headers)
    is_firm = ruling is not None and ruling.consequence in FIRM
    if error.get("is_transient") is True and not is_firm:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if ruling is not None:
        return applied(ruling, size, detail, after=after, suspects=_suspects(error, size), trace_id=trace_id)
    if reply.status == 413:
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
