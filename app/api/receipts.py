"""`POST /v1/browser-receipts`: the page reports which ids its pixel fired, so that the two copies can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app import facts
from app.api.bodies import body_of, read_json
from app.api.guards import KeyRing, Principal, bearer_key
from app.api.parse import faults_of
from app.api.problems import Problem, fault_json
from app.dedup.port import PAIR_RETENTION, PairStore, SideReport
from app.dedup.registry import faults_of_ids
from app.dedup.sightings import receipt_report
from app.errors import Fault, InvalidEvent
from app.pipeline import SourcePolicy
from app.wire import Amount

router = APIRouter(tags=["receipts"])

PATH = "/v1/browser-receipts"
MOST_RECEIPTS = 50
MOST_BYTES = 65_536
OLDEST = timedelta(days=2)
"""A receipt comes as the pixel fires; one that lay about for longer than pixels are paired by id is no use."""


class Receipt(BaseModel):
    """One event as the page's pixel reported it. Nothing about the shopper is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, coerce_numbers_to_str=True)

    event_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    event_name: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="The name in the pixel's call, as that platform spells it."
    )
    platform: Annotated[str, StringConstraints(max_length=60)] = Field(description="meta, tiktok, pinterest, …")
    fired_at: Any = Field(None, description="RFC 3339 with offset, or Unix seconds; now when absent.")
    currency: Annotated[str, StringConstraints(max_length=256)] | None = None
    value: Amount | None = None


class Receipts(BaseModel):
    """What one page reports."""

    key: str | None = Field(None, description="The key, where it cannot be sent as a header (`navigator.sendBeacon`).")
    receipts: list[Receipt] = Field(min_length=1, max_length=MOST_RECEIPTS)


class ReceiptsBody(BaseModel):
    """One result per receipt, in order: empty, or what is wrong with it."""

    results: list[dict[str, Any]]


class ReceiptLimits:
    """How many receipts a minute each source may report to this process."""

    def __init__(self, per_minute: Mapping[str, int]) -> None:
        self._limits = {source: RateLimitItemPerMinute(number) for source, number in per_minute.items()}
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def take(self, source: str, number: int) -> bool:
        """Whether `number` more may be taken now; they are then counted."""
        return self._limiter.hit(self._limits[source], source, cost=number)


@router.options(PATH, include_in_schema=False)
async def allow_page(request: Request) -> Response:
    """Let the pages of the configured origins ask."""
    headers = _cors(request, (policy for policy in request.app.state.policies.values()))
    if headers:
        headers |= {"Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": "86400"}
        headers |= {"Access-Control-Allow-Headers": "Authorization, Content-Type"}
    return Response(status_code=204, headers=headers)


@router.post(
    PATH,
    operation_id="postBrowserReceipts",
    summary="Report which ids the page's pixel fired",
    status_code=202,
    response_model=ReceiptsBody,
    openapi_extra=body_of(
        "Receipts",
        {
            "key": "ck_…",
            "receipts": [
                {
                    "event_id": "purchase_ORD-12345",
                    "event_name": "Purchase",
                    "platform": "meta",
                    "currency": "USD",
                    "value": "129.90",
                }
            ],
        },
    ),
)
async def post_receipts(request: Request) -> Response:
    """For pages: takes any content type, as `navigator.sendBeacon` sends text, and a key that has only `receipts`.

    Such a key may be published: it can report receipts and nothing else, and a browser lets only the pages of the
    configured origins use it. Whoever reads it can report a receipt that is not true; the worst that does is to let an
    event that is days late expire instead of going out alone. What is wrong with one receipt costs no other.
    """
    body = await request.body()
    if len(body) > MOST_BYTES:
        raise Problem("body_too_large", f"a page may report at most {MOST_BYTES} bytes at once")
    document = read_json(body)
    items = document.get("receipts") if isinstance(document, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= MOST_RECEIPTS:
        raise Problem("unreadable_body", f'send {{"receipts": [...]}} with 1 to {MOST_RECEIPTS} receipts')
    principal = _reporter(request, document.get("key"))
    policy: SourcePolicy = request.app.state.policies[principal.source]
    headers = _cors(request, (policy,))
    if not policy.takes_receipts:
        raise Problem("forbidden", "this source takes no receipts; set receipts: true and receipt_origins for it")
    if "origin" in request.headers and not headers:
        raise Problem("forbidden", "pages of this origin may not report; add it to the source's receipt_origins")
    limits: ReceiptLimits = request.app.state.receipt_limits
    if not limits.take(principal.source, len(items)):
        raise Problem("too_many_receipts", "try again in a minute", headers={"Retry-After": "60", **headers})
    now: datetime = request.app.state.now()
    reports: list[SideReport] = []
    results = []
    for index, item in enumerate(items):
        try:
            reports.append(_report(policy, item, now))
            results.append({"index": index, "errors": []})
        except InvalidEvent as error:
            results.append({"index": index, "errors": [fault_json(fault) for fault in error.faults]})
    pairs: PairStore = request.app.state.pairs
    if reports:
        await pairs.report(reports, now + policy.pair_after, now + PAIR_RETENTION)
    return Response(orjson.dumps({"results": results}), 202, headers=headers, media_type="application/json")


def _reporter(request: Request, key: Any) -> Principal:
    """Who reports: by the header as anywhere else, or by the key in the body."""
    ring: KeyRing = request.app.state.keys
    given = bearer_key(request) or (key if isinstance(key, str) else "")
    principal = ring.find(given) if given else None
    if principal is None:
        raise Problem("unauthorized", "send a key with the scope `receipts`, as a header or as `key` in the body")
    request.scope["convey.source"] = principal.source
    request.scope["convey.key_name"] = principal.name
    if "receipts" not in principal.scopes:
        raise Problem("forbidden", "this key does not have the scope `receipts`")
    return principal


def _cors(request: Request, policies: Any) -> dict[str, str]:
    """What lets the asking page read the answer, if its origin is one of these sources'; else nothing."""
    origin = request.headers.get("origin", "")
    if origin and any(policy.takes_receipts and origin in policy.receipt_origins for policy in policies):
        # Beacons go with credentials: one that says it is JSON asks leave first, and is not sent without the third.
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Allow-Credentials": "true"}
    return {}


def _report(policy: SourcePolicy, item: Any, now: datetime) -> SideReport:
    """The sighting a receipt stands for.

    Raises:
        InvalidEvent: It is none; carries every fault.
    """
    try:
        receipt = Receipt.model_validate(item)
    except ValidationError as error:
        raise InvalidEvent(faults_of(error)) from None
    faults = list(faults_of_ids([("/event_id", receipt.event_id), ("/event_name", receipt.event_name)]))
    if receipt.platform not in {route.destination.name for route in policy.routes if route.is_routed}:
        faults.append(
            Fault("/platform", "unknown_platform", "no destination of this type is configured for the source")
        )
    currency = facts.currency(receipt.currency) if receipt.currency is not None else None
    if isinstance(currency, Fault):
        faults.append(Fault("/currency", currency.code, currency.detail))
        currency = None
    fired_at = now if receipt.fired_at is None else facts.instant(receipt.fired_at)
    if fired_at is None or not now - OLDEST <= fired_at <= now + facts.CLOCK_TOLERANCE:
        faults.append(Fault("/fired_at", "out_of_range", "must be an instant of the last two days"))
        fired_at = now
    if faults:
        raise InvalidEvent(faults)
    money = (currency, receipt.value)
    return receipt_report(policy.name, receipt.event_id, receipt.platform, receipt.event_name, fired_at, money)


MODELS: Sequence[type[BaseModel]] = (Receipts,)
"""Models the OpenAPI description refers to although no route declares them."""
