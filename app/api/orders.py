"""`POST /v1/events/lookup` and `GET /v1/transactions`: what became of many orders, to be compared with the shop's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app import facts
from app.api.bodies import body_of, json_response, read_json
from app.api.guards import authorise
from app.api.problems import Problem
from app.auditing import platforms_of
from app.dedup.port import PairStore
from app.errors import Fault, Outcome, Reason
from app.outbox.aftermath import refused_book, refused_name
from app.outbox.port import DeliveryState, EventState, Journal, Memos
from app.pipeline import SourcePolicy

router = APIRouter(tags=["events"])

MOST_TRANSACTIONS = 1000
LONGEST_ID = 200
LOOKED_AT = 1000
"""Events of the journal that one page looks at."""


class Lookup(BaseModel):
    """The orders asked for."""

    transaction_ids: Annotated[list[str], Field(min_length=1, max_length=MOST_TRANSACTIONS)]


class MoneyOfDeliveryBody(BaseModel):
    """What a delivery counts with in the ledger."""

    currency: str
    value: str = Field(description="Decimal string, in major units.")


class OrderDeliveryBody(BaseModel):
    """What became of an order's event at one destination, by now."""

    outcome: Outcome
    reason: Reason | None = None
    reason_detail: str | None = None
    held_until: str | None = Field(None, description="Until when it can be released, where it is held back.")
    money: MoneyOfDeliveryBody | None = Field(None, description="Null where nothing was queued, or it had no money.")
    browser: bool | None = Field(
        description="Whether the page reported that this platform's pixel fired; null where the source takes no "
        "receipts."
    )
    rejected_after_acceptance: str | None = None


class OrderEventBody(BaseModel):
    """One event of an order."""

    event_name: str
    accepted_at: str
    destinations: dict[str, OrderDeliveryBody]


class OrderBody(BaseModel):
    """The events of the order at `index` of those asked for, the newest first; none where none is kept."""

    index: int
    events: list[OrderEventBody]


class LookupBody(BaseModel):
    """One result per order, in the order they were asked for."""

    now: str
    journal_since: str = Field(description="What was settled before then is not kept any more: nothing is known of it.")
    destinations: list[str] = Field(description="Where the source's events go.")
    results: list[OrderBody]


class AcceptedBody(BaseModel):
    """One event of a transaction that was accepted in the time asked for."""

    transaction_id: str
    event_name: str
    accepted_at: str
    destinations: dict[str, OrderDeliveryBody]


class AcceptedPageBody(BaseModel):
    """Some of the events, and where to go on; `next` is null when there are no more."""

    events: list[AcceptedBody]
    next: str | None


@router.post(
    "/v1/events/lookup",
    operation_id="lookUpOrders",
    summary="What became of up to 1000 orders",
    response_model=LookupBody,
    openapi_extra=body_of("Lookup", {"transaction_ids": ["ORD-12345", "ORD-12346"]}),
)
async def look_up(request: Request) -> Response:
    """For comparing the shop's own list with what reached each platform. Of the key's own source; changes nothing."""
    principal = authorise(request, "read")
    transactions = _read(await request.body())
    state = request.app.state
    journal: Journal = state.journal
    policy: SourcePolicy = state.policies[principal.source]
    now: datetime = state.now()
    found = await journal.transactions(principal.source, transactions)
    told = iter(await _told(request, policy, [event for events in found for event in events]))
    return json_response(
        {
            "now": now,
            "journal_since": now - state.journal_retention,
            "destinations": [route.name for route in policy.routes if route.is_routed],
            "results": [{"index": index, "events": [next(told) for _ in events]} for index, events in enumerate(found)],
        }
    )


@router.get(
    "/v1/transactions",
    operation_id="listTransactions",
    summary="The orders that were accepted in a time",
    response_model=AcceptedPageBody,
)
async def list_transactions(
    request: Request,
    since: Annotated[str, Query(description="First instant of acceptance meant: RFC 3339 or Unix seconds.")],
    before: Annotated[str | None, Query(description="First instant that is not meant any more; now if absent.")] = None,
    cursor: Annotated[str | None, Query(max_length=60, description="`next` of the page before.")] = None,
) -> Response:
    """Events with a transaction, in no set order, as far as the journal goes back; of the key's own source.

    A page may be empty and not the last.
    """
    principal = authorise(request, "read")
    state = request.app.state
    journal: Journal = state.journal
    span = _instant("/since", since), state.now() if before is None else _instant("/before", before)
    try:
        page = await journal.accepted(principal.source, *span, LOOKED_AT, cursor)
    except ValueError:
        raise _wrong("/cursor", "must be `next` of the page before") from None
    told = await _told(request, state.policies[principal.source], page.events)
    events = [{"transaction_id": of.transaction, **each} for of, each in zip(page.events, told, strict=True)]
    return json_response({"events": events, "next": page.after})


def _read(body: bytes) -> list[str]:
    document = read_json(body)
    wanted = document.get("transaction_ids") if isinstance(document, dict) else None
    if not isinstance(wanted, list) or not 0 < len(wanted) <= MOST_TRANSACTIONS:
        raise Problem("unreadable_body", f'send {{"transaction_ids": [...]}} with 1 to {MOST_TRANSACTIONS} ids')
    faults = [
        Fault(f"/transaction_ids/{index}", "malformed", f"must be a text of 1 to {LONGEST_ID} characters")
        for index, each in enumerate(wanted)
        if not isinstance(each, str) or not 0 < len(each) <= LONGEST_ID
    ]
    if faults:
        raise Problem("invalid_parameter", "see errors", errors=faults[:20])
    return wanted


def _instant(pointer: str, text: str) -> datetime:
    instant = facts.instant(text)
    if instant is None:
        raise _wrong(pointer, "must be RFC 3339 with an offset, or Unix seconds")
    return instant


def _wrong(pointer: str, words: str) -> Problem:
    return Problem("invalid_parameter", "see errors", errors=[Fault(pointer, "malformed", words)])


async def _told(request: Request, policy: SourcePolicy, states: Sequence[EventState]) -> list[dict[str, Any]]:
    """What is told of these events of one source, each look-up made once for all."""
    pairs: PairStore = request.app.state.pairs
    types = platforms_of({policy.name: policy})[policy.name]
    takes_receipts = policy.takes_receipts and bool(states)
    ids = list({state.event_id for state in states})
    sides = await pairs.sides(policy.name, ids) if takes_receipts else {}
    refused = await _refused(request, states)
    return [
        {
            "event_name": state.event_name,
            "accepted_at": state.accepted_at,
            "destinations": {
                name: {
                    **_delivery(delivery),
                    "browser": types.get(name) in sides.get(state.event_id, {}) if takes_receipts else None,
                    "rejected_after_acceptance": refused.get(name, {}).get(_name(state)),
                }
                for name, delivery in state.destinations.items()
                if delivery.reason is not Reason.NOT_ROUTED
            },
        }
        for state in states
    ]


def _name(state: EventState) -> str:
    return refused_name(state.source, state.event_name, state.event_id)


async def _refused(request: Request, states: Sequence[EventState]) -> Mapping[str, Mapping[str, str]]:
    """By destination and name of an event, why the platform refused it after it had taken it."""
    memos: Memos = request.app.state.memos
    names = [_name(state) for state in states]
    found: dict[str, Mapping[str, str]] = {}
    for destination in request.app.state.asked_later if names else ():
        kept = await memos.memos(refused_book(destination), names)
        found[destination] = {name: value.decode() for name, value in kept.items()}
    return found


def _delivery(delivery: DeliveryState) -> dict[str, Any]:
    money = None if delivery.money is None else {"currency": delivery.money[0], "value": f"{delivery.money[1]:f}"}
    return {
        "outcome": delivery.outcome,
        "reason": delivery.reason,
        "reason_detail": delivery.reason_detail,
        "held_until": delivery.held_until,
        "money": money,
    }


MODELS: Sequence[type[BaseModel]] = (Lookup,)
"""Models the OpenAPI description refers to although no route declares them."""
