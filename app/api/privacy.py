"""`POST /v1/privacy/withdrawals`: consent taken back stops what is queued for a person, and what comes later."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.bodies import body_of, json_response, read_json
from app.api.events import WarningBody
from app.api.guards import authorise
from app.api.parse import faults_of
from app.api.problems import Problem, fault_json
from app.errors import Fault
from app.hashing.identity import hash_identity
from app.hashing.reading import MOST_VALUES
from app.model import HashedIdentity
from app.pipeline import SourcePolicy
from app.wire import UserData, Values, Word
from app.withdrawal import KEPT_FOR, PERSON_FORMS
from app.withdrawals import Withdrawals

router = APIRouter(tags=["privacy"])


class Person(BaseModel):
    """Who is meant: any of the identifiers that name one person, raw or already SHA-256, one or several of each."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, coerce_numbers_to_str=True)

    email: Values = None
    phone: Values = None
    phone_country: Word | None = Field(None, description="Region of a national phone number, ISO 3166-1 alpha-2.")
    external_id: Values = Field(None, description="The shop's own stable id of the customer.")


class WithdrawalRequest(BaseModel):
    """A person's withdrawal of consent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    user: Person
    destinations: list[Word] | None = Field(None, max_length=50, description="Only these; all when absent.")


class WithdrawalBody(BaseModel):
    """What a withdrawal does."""

    withdrawn_at: str = Field(description="Consent collected after this instant stands.")
    destinations: list[str] = Field(description="What it stands against.")
    in_flight_until: str = Field(description="A request that was under way at that instant has ended by then.")
    kept_until: str
    warnings: list[WarningBody] = Field(description="Identifiers that could not be used.")


@router.post(
    "/v1/privacy/withdrawals",
    operation_id="withdraw",
    summary="Stop what is queued for a person, and what comes later",
    response_model=WithdrawalBody,
    openapi_extra=body_of("WithdrawalRequest", {"user": {"email": "jane.doe@example.com", "external_id": "cust-991"}}),
)
async def withdraw(request: Request) -> Response:
    """From the answer on nothing of this person of this source is sent, whatever waits, is parked or is replayed.

    What waits ends as `withdrawn: consent_withdrawn` when its lane comes to it. An event posted later is
    `denied: consent_withdrawn` unless its `consent.collected_at` is later than this. Identifiers are hashed on arrival
    and kept as keyed digests.
    """
    principal = authorise(request, "ingest")
    policy: SourcePolicy = request.app.state.policies[principal.source]
    now: datetime = request.app.state.now()
    try:
        asked = WithdrawalRequest.model_validate(read_json(await request.body()))
    except ValidationError as error:
        raise Problem("invalid_parameter", "see errors", errors=faults_of(error)) from None
    known = [route.name for route in policy.routes]
    faults = [
        Fault(f"/destinations/{position}", "unknown_destination", "no destination of this name is configured")
        for position, name in enumerate(asked.destinations or ())
        if name not in known
    ]
    identity, told = named(asked.user, policy, now, faults)
    withdrawals: Withdrawals = request.app.state.withdrawals
    await withdrawals.keep(principal.source, identity, asked.destinations or (), now)
    done: datetime = request.app.state.now()
    return json_response(
        {
            "withdrawn_at": now,
            "destinations": asked.destinations or known,
            "in_flight_until": done + request.app.state.longest_send,
            "kept_until": now + KEPT_FOR,
            "warnings": [fault_json(fault) for fault in told],
        }
    )


def named(
    person: Person, policy: SourcePolicy, now: datetime, faults: Sequence[Fault] = ()
) -> tuple[HashedIdentity, list[Fault]]:
    """The person's digests, and what is wrong with identifiers that are none. `faults` are what else is wrong.

    Raises: Problem 400 where there are faults, or nobody is named.
    """
    user = UserData.model_validate(person.model_dump(exclude_none=True))
    identity, warnings = hash_identity(
        user, options=policy.hashing, forms=frozenset(PERSON_FORMS), event_time=now, today=now.date()
    )
    told = [Fault(warn.pointer, warn.code, warn.detail) for warn in warnings]
    # Whoever is left out of an event is a weaker match; whoever is left out here would go on being sent.
    faults = [*faults, *(fault for fault in told if fault.code == "too_many_values")]
    if not any(form in identity.digests for form in PERSON_FORMS):
        nobody = Fault("/user", "missing", "must name the person by email, phone or external_id")
        faults = [*faults, *(told or [nobody])]
    if faults:
        raise Problem("invalid_parameter", "see errors", errors=[_refused(fault) for fault in faults])
    return identity, told


_LEFT_OUT = re.compile(r"(?:;| and was) left out(?:, as it would match nobody)?")


def _refused(fault: Fault) -> Fault:
    """`fault` in words for a request that is refused as a whole: a warning says that the value was left out."""
    if fault.code == "too_many_values":
        words = f"at most {MOST_VALUES} different values of an identifier in one request; send the others in another"
    else:
        words = _LEFT_OUT.sub("", fault.detail)
    return Fault(fault.pointer, fault.code, words)


MODELS: Sequence[type[BaseModel]] = (WithdrawalRequest,)
"""Models the OpenAPI description refers to although no route declares them."""
