"""`/v1/dead-letters`: what ended without arriving: listed and summed up, sent again, deleted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.guards import Principal, authorise
from app.api.parse import faults_of
from app.api.problems import Problem
from app.api.queries import parameters
from app.delivery import letters
from app.delivery.letters import Tally, Walk
from app.errors import Fault, Reason
from app.facts import amount_text
from app.logs import wide_event
from app.outbox.port import DeadFilter, DeadLetter, Outbox
from app.units import Duration

log = logging.getLogger("convey.dead_letters")
router = APIRouter(tags=["dead letters"])

DeadReason = Literal[
    "rejected_by_platform", "attempts_exhausted", "outcome_unknown", "purchase_not_delivered", "body_unreadable"
]
FILTERS = ("destination", "reason", "event_id", "source", "event_name", "older_than", "newer_than")
LONGEST_AGE = timedelta(days=3650)


class Which(BaseModel):
    """Which dead letters are meant: those that fit every field given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_max_length=512)

    destination: str | None = Field(None, description="Name of the destination.")
    reason: DeadReason | None = Field(None, description="Why they died.")
    event_id: str | None = Field(None, description="Of this event.")
    source: str | None = Field(None, description="Of this source. Another than the key's own needs the scope admin.")
    event_name: str | None = Field(None, description="Of this canonical name, e.g. Purchase.")
    older_than: Duration | None = Field(None, le=LONGEST_AGE, description="Dead for longer than this, e.g. 24h.")
    newer_than: Duration | None = Field(None, le=LONGEST_AGE, description="Dead for no longer than this.")

    def of(self, principal: Principal, now: datetime) -> DeadFilter:
        """What the caller may mean by it: a key without the scope admin sees its own source only.

        Raises: Problem 403.
        """
        is_admin = "admin" in principal.scopes
        if not is_admin and self.source not in {None, principal.source}:
            raise Problem("forbidden", "another source's dead letters need a key with the scope `admin`")
        return DeadFilter(
            destination=self.destination,
            reason=None if self.reason is None else Reason(self.reason),
            event_id=self.event_id,
            source=self.source if is_admin else principal.source,
            event_name=self.event_name,
            died_since=None if self.newer_than is None else now - self.newer_than,
            died_before=None if self.older_than is None else now - self.older_than,
        )


class Listing(Which):
    """Which to list, and how many."""

    limit: int = Field(100, ge=1, le=1000, description="Most letters in one answer.")
    cursor: str | None = Field(None, description="`next` of the answer before.")
    summary: bool = Field(False, description="Also sum up all that fit, which looks at every one of them.")


class Purge(Which):
    """Which to end, and how many in one request."""

    all: bool = Field(False, description="Needed when no other field says which.")
    dry_run: bool = Field(False, description="Change nothing; say what is meant, whatever the limit.")
    limit: int = Field(1000, ge=1, le=10_000, description="Most letters in one request; `next` leads on.")
    cursor: str | None = Field(None, description="`next` of the answer before, given the same filter.")


class Replay(Purge):
    """Which to send again."""

    only_sendable: bool = Field(False, description="Leave alone what would only end unsent.")


class TallyBody(BaseModel):
    """How many deliveries, and how much money per ISO 4217 currency, as decimal strings."""

    deliveries: int
    money: dict[str, str]


class DeadLetterBody(BaseModel):
    """A delivery that ended without arriving."""

    event_id: str
    event_name: str
    source: str
    destination: str
    reason: Reason
    detail: str | None = Field(description="The platform's own words, scrubbed.")
    trace_id: str | None
    attempts: int
    event_time: str | None
    accepted_at: str
    died_at: str
    currency: str | None
    value: str | None
    unsendable: Reason | None = Field(description="Why a replay would end unsent; null when it would be sent.")


class SumBody(TallyBody):
    """The dead letters of one destination and reason."""

    destination: str
    reason: Reason
    unsendable: dict[str, TallyBody] = Field(description="Those of them a replay would not send, by why.")


class DeadLettersBody(BaseModel):
    """Dead letters, oldest first."""

    dead_letters: list[DeadLetterBody]
    next: str | None = Field(description="The cursor of the next page; null on the last.")
    summary: list[SumBody] | None = Field(description="All that fit, by destination and reason; null if not asked for.")


class EndedBody(TallyBody):
    """What was ended, or what would be: deliveries and money of those meant."""

    dry_run: bool
    ended: int = Field(description="How many were ended by this request; 0 in a dry run.")
    unsendable: dict[str, TallyBody] = Field(description="Those that fit and no replay would send any more, by why.")
    unsendable_share: float = Field(description="Their part of those that fit, from 0 to 1.")
    next: str | None = Field(description="The cursor to go on with; null when none are left.")


@router.get(
    "/v1/dead-letters",
    operation_id="listDeadLetters",
    summary="What ended without arriving, oldest first",
    response_model=DeadLettersBody,
    openapi_extra=parameters(Listing),
)
async def list_dead_letters(request: Request) -> Response:
    """Dead letters that fit, in pages; with `summary=true` also how many and how much money they are, and why.

    `unsendable` says what a replay would come to now: past the platform's or the pairing window, or past the time in
    which the platform would recognise a repeat, it would end without being sent, and so would an event that nobody
    can open any more.
    """
    principal = authorise(request, "read")
    asked = _read(Listing, dict(request.query_params))
    now: datetime = request.app.state.now()
    which = await _filter(request, asked, principal, now)
    outbox: Outbox = request.app.state.outbox
    try:
        page = await letters.listed(outbox, which, asked.limit, asked.cursor)
    except ValueError:
        raise _bad_cursor() from None
    sums = await letters.summary(outbox, which, now) if asked.summary else None
    return _json(
        {
            "dead_letters": [_letter(letter, now) for letter in page.letters],
            "next": page.after,
            "summary": None if sums is None else [_sum(*key, walk) for key, walk in sums.items()],
        }
    )


@router.delete(
    "/v1/dead-letters",
    operation_id="purgeDeadLetters",
    summary="Delete dead letters with their events; the ledger keeps their counts",
    response_model=EndedBody,
    openapi_extra=parameters(Purge),
)
async def purge_dead_letters(request: Request) -> Response:
    """Deletes up to `limit` that fit, oldest first; ask again with `next` as `cursor` until it is null."""
    principal = authorise(request, "admin")
    asked = _meant(_read(Purge, dict(request.query_params)))
    now: datetime = request.app.state.now()
    which = await _filter(request, asked, principal, now)
    try:
        walk = await letters.purge(
            request.app.state.outbox, which, now, asked.limit, asked.cursor, is_dry=asked.dry_run
        )
    except ValueError:
        raise _bad_cursor() from None
    _tell("dead_letters.purged", principal, asked, walk)
    return _json(_ended(walk, is_dry=asked.dry_run))


@router.post(
    "/v1/dead-letters/replay",
    operation_id="replayDeadLetters",
    summary="Send dead letters again, in the bulk share of their lanes",
    response_model=EndedBody,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Replay"},
                    "example": {"destination": "meta", "reason": "attempts_exhausted", "dry_run": True},
                }
            },
        }
    },
)
async def replay_dead_letters(request: Request) -> Response:
    """Makes up to `limit` that fit pending again, oldest first; ask again with `next` as `cursor` until it is null.

    They are rendered anew from the stored event, under the same event_id. What dies while a replay goes on is not
    met by it again. A replay fills up no more than half of the room for what waits: beyond it 503, with the limit's
    name, until deliveries make some.
    """
    principal = authorise(request, "admin")
    try:
        document = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise Problem("unreadable_body", "the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Problem("unreadable_body", 'say which: {"destination": …}, {"reason": …}, {"all": true}')
    asked = _meant(_read(Replay, document))
    now: datetime = request.app.state.now()
    which = await _filter(request, asked, principal, now)
    try:
        walk = await letters.replay(
            request.app.state.outbox,
            which,
            now,
            asked.limit,
            asked.cursor,
            limits=request.app.state.limits,
            is_dry=asked.dry_run,
            only_sendable=asked.only_sendable,
        )
    except ValueError:
        raise _bad_cursor() from None
    _tell("dead_letters.replayed", principal, asked, walk)
    return _json(_ended(walk, is_dry=asked.dry_run))


M = TypeVar("M", bound=Which)
P = TypeVar("P", bound=Purge)


def _read(model: type[M], document: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        words = f"must be a duration such as 24h, up to {LONGEST_AGE.days}d"
        faults = [
            Fault(fault.pointer, "malformed", words) if "er_than" in fault.pointer else fault
            for fault in faults_of(error)
        ]
        raise Problem("invalid_parameter", "see errors", errors=faults) from None


async def _filter(request: Request, asked: Which, principal: Principal, now: datetime) -> DeadFilter:
    """What is meant, once its destination is one that is configured or that something was queued for.

    Raises: Problem 400, so that a slip of the pen is not taken for "no dead letters"; 403.
    """
    which = asked.of(principal, now)
    state, name = request.app.state, which.destination
    if name is not None and name not in state.destinations and name not in await state.outbox.ledger():
        words = "no destination of this name is configured, and nothing was ever queued for one"
        raise Problem("invalid_parameter", "see errors", errors=[Fault("/destination", "unknown_destination", words)])
    return which


def _meant(asked: P) -> P:
    """`asked`, once it says which: nobody ends every dead letter by leaving a filter out."""
    if not asked.all and all(getattr(asked, name) is None for name in FILTERS):
        words = f"say which: one of {', '.join(FILTERS)}, or all"
        raise Problem("invalid_parameter", words, errors=[Fault("/all", "missing", words)])
    return asked


def _tell(event: str, principal: Principal, asked: Purge, walk: Walk) -> None:
    """A line about what was done, and by which key: it cannot be undone."""
    if not asked.dry_run:
        wide_event(
            log,
            event,
            source=principal.source,
            key_name=principal.name,
            reason=asked.reason,
            deliveries=walk.done,
        )


def _bad_cursor() -> Problem:
    words = "must be `next` of an earlier answer"
    return Problem("invalid_parameter", "see errors", errors=[Fault("/cursor", "malformed", words)])


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def _letter(letter: DeadLetter, now: datetime) -> dict[str, Any]:
    currency, value = letter.money or (None, None)
    return {
        "event_id": letter.event_id,
        "event_name": letter.event_name,
        "source": letter.source,
        "destination": letter.destination,
        "reason": letter.reason,
        "detail": letter.detail,
        "trace_id": letter.trace_id,
        "attempts": letter.attempts,
        "event_time": letter.event_time,
        "accepted_at": letter.accepted_at,
        "died_at": letter.died_at,
        "currency": currency,
        "value": None if value is None else str(value),
        "unsendable": letters.unsendable(letter, now),
    }


def _tally(tally: Tally) -> dict[str, Any]:
    return {
        "deliveries": tally.deliveries,
        "money": {currency: amount_text(amount) for currency, amount in sorted(tally.money.items())},
    }


def _hopeless(walk: Walk) -> dict[str, Any]:
    return {reason.value: _tally(tally) for reason, tally in sorted(walk.hopeless.items())}


def _sum(destination: str, reason: Reason, walk: Walk) -> dict[str, Any]:
    return {"destination": destination, "reason": reason, **_tally(walk.met), "unsendable": _hopeless(walk)}


def _ended(walk: Walk, *, is_dry: bool) -> dict[str, Any]:
    hopeless = sum(tally.deliveries for tally in walk.hopeless.values())
    return {
        "dry_run": is_dry,
        "ended": walk.done,
        **_tally(walk.met),
        "unsendable": _hopeless(walk),
        "unsendable_share": round(hopeless / walk.fitted, 4) if walk.fitted else 0.0,
        "next": walk.after,
    }


MODELS: Sequence[type[BaseModel]] = (Replay,)
"""Models the OpenAPI description refers to although no route declares them."""
