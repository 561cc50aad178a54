"""`GET /v1/ledger`: what was queued, and where it is, in events and in money."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.guards import authorise
from app.outbox.port import LEDGER_STATES, QUEUED, Account, Outbox

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


class LedgerBody(BaseModel):
    """An account per destination."""

    destinations: dict[str, AccountBody]


@router.get("/v1/ledger", operation_id="getLedger", summary="The ledger that closes", response_model=LedgerBody)
async def get_ledger(request: Request) -> Response:
    """Per destination: queued = delivered + dead + expired + withdrawn + erased + pending, at any time."""
    authorise(request, "read")
    outbox: Outbox = request.app.state.outbox
    ledger = await outbox.ledger()
    body = {"destinations": {name: _account(account) for name, account in ledger.items()}}
    return Response(orjson.dumps(body), media_type="application/json")


def _account(account: Account) -> dict[str, Any]:
    return {term: account.deliveries[term] for term in TERMS} | {
        "money": {currency: {term: str(amounts[term]) for term in TERMS} for currency, amounts in account.money.items()}
    }
