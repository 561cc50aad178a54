"""`PUT /v1/contexts/{transaction_id}`: what the checkout page knew, kept until the backend posts the order."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from app.api.bodies import body_of, json_response, read_json
from app.api.guards import authorise
from app.api.parse import faults_of
from app.api.problems import Problem
from app.dedup.context import encode_context, kept_of
from app.dedup.port import IdStore, KeptContext
from app.dedup.registry import faults_of_ids
from app.errors import Fault, InvalidEvent
from app.pipeline import SourcePolicy
from app.wire import CheckoutContext

router = APIRouter(tags=["event ids"])

LONGEST_TRANSACTION = 200
MOST_BYTES = 65_536
"""Of one context: user agent, URLs and consent strings at their longest."""


class KeptBody(BaseModel):
    """Until when a context is kept."""

    kept_until: str = Field(description="From then on an order posted under this transaction gets nothing from it.")


@router.put(
    "/v1/contexts/{transaction_id:path}",  # a transaction may hold a slash, as order numbers do
    operation_id="keepContext",
    summary="Keep what the checkout page knows of an order",
    response_model=KeptBody,
    openapi_extra=body_of(
        "CheckoutContext",
        {
            "user": {"client_ip_address": "203.0.113.9", "client_user_agent": "Mozilla/5.0", "fbp": "fb.1.1763.1098"},
            "event_source_url": "https://shop.example/checkout?fbclid=IwY2Abc",
            "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
        },
    ),
)
async def keep_context(request: Request, transaction_id: str) -> Response:
    """Click ids, browser ids, IP address, user agent and consent, for the event that is posted under this transaction.

    Call it from the server of the checkout page, before the order is posted. An event's own fields win over these, and
    of two consents the later one. A later call replaces an earlier one. Identifiers of a person are refused.
    """
    principal = authorise(request, "ingest")
    policy: SourcePolicy = request.app.state.policies[principal.source]
    try:
        posted = CheckoutContext.model_validate(read_json(await request.body()))
        kept = context_to_keep(policy, transaction_id, posted, request.app.state.now())
    except ValidationError as error:
        raise Problem("invalid_parameter", "see errors", errors=faults_of(error)) from None
    except InvalidEvent as error:
        raise Problem("invalid_parameter", "see errors", errors=error.faults) from None
    ids: IdStore = request.app.state.ids
    await ids.keep_contexts([kept])
    return json_response({"kept_until": kept.until})


def context_to_keep(
    policy: SourcePolicy, transaction: str, posted: CheckoutContext, now: datetime, where: str = ""
) -> KeptContext:
    """What is kept of a posted context. `where` is put before the pointers of its faults.

    Raises:
        InvalidEvent: It cannot be kept; carries every fault.
    """
    faults = list(faults_of_ids([("/transaction_id", transaction)]))
    if len(transaction) > LONGEST_TRANSACTION:
        faults.append(Fault("/transaction_id", "too_long", f"may have at most {LONGEST_TRANSACTION} characters"))
    body = b""
    try:
        body = encode_context(kept_of(posted, policy.leak_policy, now))
    except InvalidEvent as error:
        faults += [Fault(where + fault.pointer, fault.code, fault.detail) for fault in error.faults]
    except RecursionError:
        faults.append(Fault(f"{where}/consent", "too_deep", "nests too deeply"))
    if len(body) > MOST_BYTES:
        faults.append(Fault(where, "too_large", f"may take at most {MOST_BYTES} bytes"))
    if faults:
        raise InvalidEvent(faults)
    return KeptContext(policy.name, transaction, body, now + policy.context_retention)


MODELS: tuple[type[BaseModel], ...] = (CheckoutContext,)
"""Models the OpenAPI description refers to although no route declares them."""
