"""`GET /v1/ledger`: what was queued, and where it is, in events and in money."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.guards import authorise
from app.facts import amount_text
from app.outbox.port import LEDGER_STATES, QUEUED, Account, Outbox
from app.outbox.recount import Recount

router = APIRouter(tags=["ledger"])

TERMS = (QUEUED, *(state for state in LEDGER_STATES if state != "pending"), "pending")


class MoneyBody(BaseModel):
    """The seven terms in one currency, as decimal strings."""

    queued: str
    delivered: str
    dead: str
    expired: str
    withdrawn: str
    erased: str
    pending: str


class AccountBody(BaseModel):
    """The seven terms of one destination: `queued` is the sum of the others."""

    queued: int
    delivered: int
    dead: int
    expired: int
    withdrawn: int
    erased: int
    pending: int
    money: dict[str, MoneyBody] = Field(description="Per ISO 4217 currency.")


class DifferenceBody(BaseModel):
    """Where the ledger and the store disagree."""

    destination: str
    state: str = Field(description="pending or dead.")
    currency: str | None = Field(description="Of the money that differs; null where it is the number of deliveries.")
    counted: str = Field(description="What the ledger says, as a decimal string.")
    stored: str = Field(description="What is stored.")


class CheckBody(BaseModel):
    """What counting again found."""

    deliveries: int = Field(description="Pending and dead deliveries that were counted.")
    unread: int = Field(description="Those whose money was not added up, as too many lie in one part of a Redis store.")
    differences: list[DifferenceBody] = Field(description="Empty when the ledger is right.")


class LedgerBody(BaseModel):
    """An account per destination."""

    destinations: dict[str, AccountBody]
    check: CheckBody | None = Field(None, description="Only where it was asked for.")


@router.get("/v1/ledger", operation_id="getLedger", summary="The ledger that closes", response_model=LedgerBody)
async def get_ledger(
    request: Request,
    check: Annotated[
        bool, Query(description="Count pending and dead deliveries again, and compare; takes seconds for millions.")
    ] = False,
) -> Response:
    """Per destination: queued = delivered + dead + expired + withdrawn + erased + pending, at any time."""
    authorise(request, "read")
    outbox: Outbox = request.app.state.outbox
    ledger = await outbox.ledger()
    body: dict[str, Any] = {"destinations": {name: _account(account) for name, account in ledger.items()}}
    if check:
        body["check"] = _check(await _recount(request))
    return Response(orjson.dumps(body), media_type="application/json")


async def _recount(request: Request) -> Recount:
    """What a recount finds; who asks while one is under way gets the same."""
    state = request.app.state
    running: asyncio.Task[Recount] | None = getattr(state, "recount", None)
    if running is None or running.done():
        outbox: Outbox = state.outbox
        running = state.recount = asyncio.create_task(outbox.recount(), name="recount")
    return await asyncio.shield(running)


def _check(recount: Recount) -> dict[str, Any]:
    return {
        "deliveries": recount.deliveries,
        "unread": recount.unread,
        "differences": [
            {
                "destination": each.destination,
                "state": each.state,
                "currency": each.currency,
                "counted": str(each.counted),
                "stored": str(each.stored),
            }
            for each in recount.differences
        ],
    }


def _account(account: Account) -> dict[str, Any]:
    return {term: account.deliveries[term] for term in TERMS} | {
        "money": {
            currency: {term: amount_text(amounts[term]) for term in TERMS}
            for currency, amounts in account.money.items()
        }
    }
