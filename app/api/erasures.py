"""`/v1/privacy/erasures` and `/v1/privacy/access`: all about a person deleted, or shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.bodies import body_of, json_response, read_json
from app.api.events import EventBody, WarningBody, told_of
from app.api.guards import Principal, authorise
from app.api.parse import faults_of
from app.api.privacy import Person, named
from app.api.problems import Problem, fault_json
from app.dedup.context import decode_context
from app.dedup.port import IdStore
from app.erasing import Arrival, Erasing, Erasure, Progress, whose
from app.errors import Fault, Outcome
from app.logs import wide_event
from app.model import HashedEvent, HashedIdentity
from app.outbox.persons import Trace, Wanted
from app.pipeline import SourcePolicy
from app.wire import Word
from app.withdrawal import KEPT_FOR
from app.withdrawals import Withdrawals

log = logging.getLogger("convey.privacy")
router = APIRouter(tags=["privacy"])
LONGEST_PLACE = 512


class AboutPerson(BaseModel):
    """Whom a request is about: one person, or several who are dealt with at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    user: Person
    source: Word | None = Field(None, description="Another source than the key's own: its customers are others.")


class ErasureRequest(AboutPerson):
    """A person's request to be forgotten."""

    keep_proofs: bool = Field(False, description="Leave the proof of what consent was decided by, as evidence.")
    continue_with: str | None = Field(
        None, max_length=LONGEST_PLACE, description="`continue_with` of the answer before, with the same `user`."
    )


class EndedDeliveries(BaseModel):
    """How many deliveries of a destination were ended as `erased`, by what they were."""

    pending: int
    dead: int


class ArrivedBody(BaseModel):
    """An event that a platform has, or may have. Convey cannot take it back: ask the platform to delete it."""

    destination: str
    event_id: str
    event_name: str
    delivered_at: str | None
    trace_id: str | None
    certain: bool = Field(
        description="False: it was sent, and the platform did not say that it took it: perhaps it has it."
    )


class DeletedBody(BaseModel):
    """How much was deleted. Hashed bodies went with the last delivery of their event."""

    events: int = Field(description="With their status at every destination.")
    event_ids: int = Field(description="Minted for their transactions.")
    contexts: int = Field(description="Of their transactions.")
    pairs: int = Field(description="Reports of both sides, browser receipts among them.")
    consent_proofs: int


class ErasureBody(BaseModel):
    """What one call of an erasure did."""

    complete: bool = Field(description="Whether there is nothing left to do but what is in flight.")
    continue_with: str | None = Field(description="Send it back with the same body; it says that you have this answer.")
    phase: str = Field(description="`stop`: what waits is ended and what arrived is told; `delete`.")
    erased_at: str = Field(description="Since then nothing of this person is taken, unless consent is newer.")
    kept_until: str = Field(description="Until when that is remembered, as keyed digests.")
    looked_at: int = Field(description="Records this call looked at.")
    found: int = Field(description="Events of this person among them.")
    ended: dict[str, EndedDeliveries] = Field(description="By destination. They count as `erased` in the ledger.")
    delivered: list[ArrivedBody] = Field(
        description="What platforms have: told in the phase `stop`, before it is gone."
    )
    deleted: DeletedBody
    in_flight: dict[str, int] = Field(description="Deliveries being sent right now, by destination; they were left.")
    left: int = Field(
        description="Events left as one of them is in flight or has just arrived: erase once more, later."
    )
    in_flight_until: str = Field(description="A request that was under way has ended by then.")
    warnings: list[WarningBody] = Field(description="Identifiers that could not be used.")


class AccessRequest(AboutPerson):
    """A person's request to be shown what is stored."""

    cursor: str | None = Field(None, max_length=LONGEST_PLACE, description="`next` of the answer before.")


class ContextShown(BaseModel):
    """What is kept of an order's checkout page."""

    kept_at: str
    fields: list[str] = Field(description="Names of what it holds; the values are what your page sent.")


class EventShown(EventBody):
    """An event, and what is kept of it besides."""

    identifiers: list[str] | None = Field(
        description="Which forms of which identifiers are kept, as digests or as they must travel; null: none any more."
    )
    context: ContextShown | None


class WithdrawalShown(BaseModel):
    """A withdrawal, or an erasure, that is kept."""

    kind: str = Field(description="`withdrawal` or `erasure`.")
    destinations: list[str] | None = Field(description="What it stands against; null: everything.")
    at: str


class AccessBody(BaseModel):
    """What is stored about a person: some of the events, and on the first page the withdrawals."""

    events: list[EventShown]
    withdrawals: list[WithdrawalShown]
    next: str | None = Field(description="The cursor of the next page; null on the last. A page may be empty.")
    looked_at: int = Field(description="Records this call looked at.")
    warnings: list[WarningBody]


@router.post(
    "/v1/privacy/erasures",
    operation_id="erase",
    summary="Delete what is stored about a person, and take nothing more",
    response_model=ErasureBody,
    openapi_extra=body_of("ErasureRequest", {"user": {"email": "jane.doe@example.com", "external_id": "cust-991"}}),
)
async def erase(request: Request) -> Response:
    """Ask again with `continue_with` until `complete`: the first scan stops and tells, the second deletes.

    From the first answer on nothing of this person is sent. Nothing is deleted whose arrival you were not told, as you
    have an answer when you come back with its `continue_with`; after a broken connection begin anew. What was in flight
    is left: erase once more after `in_flight_until`. Repeated, it finds nothing and answers zeros.
    """
    asked, principal, policy, identity, told = await _asked(request, ErasureRequest)
    erasing: Erasing = request.app.state.erasing
    wanted = _wanted(request, policy, identity)
    try:
        going_on = None if asked.continue_with is None else Erasure.read(asked.continue_with, whose(wanted))
        done = await erasing.erase(policy.name, identity, going_on, keeps_proofs=asked.keep_proofs)
    except ValueError:
        raise _bad("/continue_with", "must be `continue_with` of an answer about the same person") from None
    now: datetime = request.app.state.now()
    began_at = done.began_at
    wide_event(
        log,
        "privacy.erased",
        source=policy.name,
        key_name=principal.name,
        phase=done.phase,
        found=done.found,
        ended=done.ended.total(),
        deleted=done.deleted["events"],
        left=done.left,
    )
    return json_response(
        {
            "complete": done.going_on is None,
            "continue_with": None if done.going_on is None else done.going_on.spell(whose(wanted)),
            "phase": done.phase,
            "erased_at": began_at,
            "kept_until": began_at + KEPT_FOR,
            "looked_at": done.looked_at,
            "found": done.found,
            "ended": _ended(done),
            "delivered": [_arrived(each) for each in done.arrivals],
            "deleted": {name: done.deleted[name] for name in DeletedBody.model_fields},
            "in_flight": done.in_flight,
            "left": done.left,
            "in_flight_until": now + request.app.state.longest_send,
            "warnings": [fault_json(fault) for fault in told],
        }
    )


@router.post(
    "/v1/privacy/access",
    operation_id="showPerson",
    summary="What is stored about a person",
    response_model=AccessBody,
    openapi_extra=body_of("AccessRequest", {"user": {"email": "jane.doe@example.com", "external_id": "cust-991"}}),
)
async def show(request: Request) -> Response:
    """Every event kept of this person with what became of it, what your pages reported, and the proof of consent.

    Ask again with `next` as `cursor` until it is null. Of identifiers it names the forms, never a value or a digest.
    """
    asked, principal, policy, identity, told = await _asked(request, AccessRequest)
    erasing: Erasing = request.app.state.erasing
    try:
        shown = await erasing.show(policy.name, identity, asked.cursor)
    except ValueError:
        raise _bad("/cursor", "must be `next` of an earlier answer") from None
    withdrawals: Withdrawals = request.app.state.withdrawals
    names = [route.name for route in policy.routes]
    standing = () if asked.cursor is not None else await withdrawals.standing(policy.name, identity, names)
    wide_event(log, "privacy.shown", source=policy.name, key_name=principal.name, found=len(shown.traces))
    return json_response(
        {
            "events": await _events(request, policy, shown.traces),
            "withdrawals": [
                {
                    "kind": "erasure" if each.is_erasure else "withdrawal",
                    "destinations": None if each.destination is None else [each.destination],
                    "at": each.at,
                }
                for each in standing
            ],
            "next": shown.after,
            "looked_at": shown.looked_at,
            "warnings": [fault_json(fault) for fault in told],
        }
    )


A = TypeVar("A", bound=AboutPerson)


async def _asked(
    request: Request, model: type[A]
) -> tuple[A, Principal, SourcePolicy, HashedIdentity, Sequence[Fault]]:
    """What is asked, by whom, of which source, about whom, and which identifiers could not be used.

    Raises: Problem 400, 401, 403.
    """
    # Not for the keys that lie on web servers: one call destroys, the other turns an address into a list of orders.
    principal = authorise(request, "admin")
    try:
        asked = model.model_validate(read_json(await request.body()))
    except ValidationError as error:
        raise Problem("invalid_parameter", "see errors", errors=faults_of(error)) from None
    policy: SourcePolicy | None = request.app.state.policies.get(asked.source or principal.source)
    if policy is None:
        words = "no source of this name is configured"
        raise Problem("invalid_parameter", "see errors", errors=[Fault("/source", "unknown_source", words)])
    identity, told = named(asked.user, policy, request.app.state.now())
    return asked, principal, policy, identity, told


def _wanted(request: Request, policy: SourcePolicy, identity: HashedIdentity) -> Wanted:
    """Whom a scan looks for."""
    withdrawals: Withdrawals = request.app.state.withdrawals
    return withdrawals.wanted(policy.name, identity)


def _bad(pointer: str, words: str) -> Problem:
    return Problem("invalid_parameter", "see errors", errors=[Fault(pointer, "malformed", words)])


def _ended(done: Progress) -> dict[str, dict[str, int]]:
    destinations = sorted({name for name, _ in done.ended})
    return {
        name: {"pending": done.ended[name, Outcome.QUEUED], "dead": done.ended[name, Outcome.DEAD]}
        for name in destinations
    }


def _arrived(arrival: Arrival) -> dict[str, Any]:
    return {
        "destination": arrival.destination,
        "event_id": arrival.event_id,
        "event_name": arrival.event_name,
        "delivered_at": arrival.delivered_at,
        "trace_id": arrival.trace_id,
        "certain": arrival.is_certain,
    }


async def _events(request: Request, policy: SourcePolicy, traces: Sequence[Trace]) -> list[dict[str, Any]]:
    ids: IdStore = request.app.state.ids
    told = await told_of(request, [trace.state for trace in traces])
    orders = {trace.state.transaction for trace in traces if trace.state.transaction is not None}
    contexts = await ids.contexts(policy.name, orders) if orders else {}
    return [
        {
            **event,
            "identifiers": None if trace.event is None else _identifiers(trace.event),
            "context": _context(contexts.get(trace.state.transaction or "")),
        }
        for event, trace in zip(told, traces, strict=True)
    ]


def _identifiers(event: HashedEvent) -> list[str]:
    """The forms that are kept as digests, then the fields that must travel unhashed."""
    identity = event.identity
    plain = (name for name in identity.__struct_fields__ if name != "digests" and getattr(identity, name) is not None)
    return [*identity.digests, *plain]


def _context(body: bytes | None) -> dict[str, Any] | None:
    if body is None:
        return None
    context = decode_context(body)
    beside = ("event_source_url", "referrer_url", "consent")
    return {
        "kept_at": context.kept_at,
        "fields": [*sorted(context.user), *(name for name in beside if getattr(context, name))],
    }


MODELS: Sequence[type[BaseModel]] = (ErasureRequest, AccessRequest)
"""Models the OpenAPI description refers to although no route declares them."""
