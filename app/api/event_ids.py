"""`/v1/event-ids`: the id that both copies of an event carry, whoever asks first, and the pixel calls that carry it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app import facts
from app.api.bodies import body_of, json_response, read_json
from app.api.contexts import context_to_keep
from app.api.guards import authorise
from app.api.parse import faults_of
from app.api.problems import Problem, fault_json
from app.dedup.event_id import derive
from app.dedup.port import IdKey, IdStore, KeptContext, MintedId
from app.dedup.registry import key_of
from app.errors import Fault, InvalidEvent
from app.event_names import canonical_name
from app.model import HashedCustomData, HashedEvent
from app.pipeline import SourcePolicy
from app.wire import Amount, CheckoutContext

router = APIRouter(tags=["event ids"])

MOST_IDS = 100
"""Ids one request may ask for: more than the events of any one page."""


class PageData(BaseModel):
    """What the page knows of an order: its worth, for the pixel calls alone, and a context to keep for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, coerce_numbers_to_str=True)

    currency: str | None = Field(None, max_length=256, description="ISO 4217, e.g. EUR.")
    value: Amount | None = Field(None, description="Total in major units, string or number.")
    context: CheckoutContext | None = Field(None, description="Kept for the order, as `PUT /v1/contexts` does.")


class WantedId(PageData):
    """One event whose id is wanted."""

    event_name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    transaction_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    occurrence: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class WantedIds(BaseModel):
    """The events of one page."""

    ids: list[WantedId] = Field(min_length=1, max_length=MOST_IDS)


class EventIdBody(BaseModel):
    """The id of one event."""

    event_id: str = Field(description="The id that counts: the pixel's copy and the server's carry this one.")
    event_name: str = Field(description="The canonical name.")
    is_new: bool = Field(description="Whether this call minted it.")
    remember_until: str = Field(description="Until when it is remembered, at least.")
    pixel_calls: dict[str, str] = Field(
        description="Per destination, the JavaScript with which the page's pixel reports this event."
    )


class EventIdsBody(BaseModel):
    """One result per wanted id, in order: the id, or what is wrong with what was asked."""

    results: list[dict[str, Any]]


Occurrence = Annotated[str | None, Query(description="Invoice, renewal or refund id, where there is one.")]
PATH = "/v1/event-ids/{event_name}/{transaction_id:path}"  # a transaction may hold a slash, as order numbers do


@router.put(
    PATH,
    operation_id="mintEventId",
    summary="The id of an event, minted if it has none yet",
    response_model=EventIdBody,
    openapi_extra=body_of("PageData", {"currency": "EUR", "value": "129.90"}, is_required=False),
)
async def mint_event_id(
    request: Request, event_name: str, transaction_id: str, occurrence: Occurrence = None
) -> Response:
    """The same id for every caller, under any race, before or after the order itself was posted.

    The page asks while it renders and puts the id into its pixel calls; the backend posts the order without an
    event_id and gets the same. The body is optional: with currency and value the pixel calls are complete.
    """
    principal = authorise(request, "ingest")
    document = read_json(await request.body() or b"{}")
    if not isinstance(document, dict):
        raise Problem("unreadable_body", "the body, where there is one, must be a JSON object")
    wanted = _wanted(
        request,
        principal.source,
        {**document, "event_name": event_name, "transaction_id": transaction_id, "occurrence": occurrence},
    )
    if not isinstance(wanted, Wanted):
        raise Problem("invalid_parameter", "see errors", errors=wanted)
    return json_response(wanted.body(await wanted.mint(request.app.state.ids)))


@router.get(PATH, operation_id="getEventId", summary="The id of an event, if it has one", response_model=EventIdBody)
async def get_event_id(
    request: Request, event_name: str, transaction_id: str, occurrence: Occurrence = None
) -> Response:
    """The id minted earlier, or the one the event was accepted with; 404 when none is remembered."""
    principal = authorise(request, "read")
    asked = {"event_name": event_name, "transaction_id": transaction_id, "occurrence": occurrence}
    wanted = _wanted(request, principal.source, asked)
    if not isinstance(wanted, Wanted):
        raise Problem("invalid_parameter", "see errors", errors=wanted)
    ids: IdStore = request.app.state.ids
    known = await ids.read(wanted.key)
    if known is None:
        raise Problem("not_found", "no id is remembered for this event; PUT mints one")
    return json_response(wanted.body(known))


@router.put(
    "/v1/event-ids",
    operation_id="mintEventIds",
    summary="The ids of all events of one page",
    response_model=EventIdsBody,
    openapi_extra=body_of(
        "WantedIds",
        {
            "ids": [
                {"event_name": "Purchase", "transaction_id": "ORD-12345", "currency": "EUR", "value": "129.90"},
                {"event_name": "Subscribe", "transaction_id": "ORD-12345"},
            ]
        },
        is_required=True,
    ),
)
async def mint_event_ids(request: Request) -> Response:
    """One result per wanted id, in order; what is wrong with one costs no other. 422 when all of them are."""
    principal = authorise(request, "ingest")
    asked = [_wanted(request, principal.source, item) for item in _items(read_json(await request.body()))]
    ids: IdStore = request.app.state.ids
    minted = iter(await asyncio.gather(*(one.mint(ids) for one in asked if isinstance(one, Wanted))))
    results: list[dict[str, Any]] = [
        {"index": index, **one.body(next(minted)), "errors": []}
        if isinstance(one, Wanted)
        else {"index": index, "errors": [fault_json(fault) for fault in one]}
        for index, one in enumerate(asked)
    ]
    if all(result["errors"] for result in results):
        raise Problem("invalid_ids", "see results", extra={"results": results})
    return json_response({"results": results})


@dataclass(frozen=True, slots=True)
class Wanted:
    """One event whose id is wanted, judged. `event` is what is known of it, for the pixel calls."""

    key: IdKey
    event: HashedEvent
    policy: SourcePolicy
    context: KeptContext | None = None

    async def mint(self, ids: IdStore) -> MintedId:
        """Its id, remembered from now on for the source's dedup window; its context is kept before."""
        if self.context is not None:
            await ids.keep_contexts([self.context])
        key, policy = self.key, self.policy
        derived = derive(policy.event_id_template, key.source, key.event_name, key.transaction, key.occurrence)
        return await ids.mint(key, derived, self.event.event_time + policy.dedup_window)

    def body(self, minted: MintedId) -> dict[str, Any]:
        """What is answered."""
        calls = {
            route.name: route.destination.pixel_call(self.event, minted.event_id, route.settings)
            for route in self.policy.routes
            if route.is_routed and self.policy.has_pixel
        }
        return {
            "event_id": minted.event_id,
            "event_name": self.key.event_name,
            "is_new": minted.is_new,
            "remember_until": minted.remember_until,
            "pixel_calls": {name: call for name, call in calls.items() if call is not None},
        }


def _wanted(request: Request, source: str, item: Any) -> Wanted | Sequence[Fault]:
    """What is asked for, or everything that is wrong with it."""
    now: datetime = request.app.state.now()
    policy: SourcePolicy = request.app.state.policies[source]
    try:
        asked = WantedId.model_validate(item)
        key = key_of(source, asked.event_name, asked.transaction_id, asked.occurrence)
        context = None
        if asked.context is not None:
            context = context_to_keep(policy, asked.transaction_id, asked.context, now, "/context")
    except ValidationError as error:
        return faults_of(error)
    except InvalidEvent as error:
        return error.faults
    currency = None if asked.currency is None else facts.currency(asked.currency)
    if isinstance(currency, Fault):
        return [Fault("/currency", currency.code, currency.detail)]
    event = HashedEvent(
        source=source,
        event_name=key.event_name,
        event_time=now,
        is_custom=canonical_name(asked.event_name)[1],
        transaction_id=key.transaction,
        occurrence=key.occurrence,
        custom_data=HashedCustomData(currency=currency, value=asked.value, order_id=key.transaction),
    )
    return Wanted(key, event, policy, context)


def _items(document: Any) -> Sequence[Any]:
    items = document.get("ids") if isinstance(document, dict) else None
    if not isinstance(items, list) or not items:
        raise Problem("unreadable_body", 'send {"ids": [{"event_name": …, "transaction_id": …}, …]}')
    if len(items) > MOST_IDS:
        raise Problem("too_many_ids", f"one request may ask for {MOST_IDS} ids; ask for the rest in another")
    return items


MODELS: Sequence[type[BaseModel]] = (PageData, WantedIds)
"""Models the OpenAPI description refers to although no route declares them."""
