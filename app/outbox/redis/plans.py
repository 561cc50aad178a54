"""A plan as `accept.lua` is told it: encoded once, before anything is asked of a server."""

from __future__ import annotations

import os
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from app.errors import Outcome
from app.model import Budget, Plan
from app.outbox.persons import marks_of
from app.outbox.redis.places import blob, name_mark, to_seconds, to_us, transaction_mark
from app.outbox.redis.records import MILLION, Head, Lead, Term, marks_text
from app.outbox.redis.squeeze import squeeze
from app.outbox.shares import Queue, queue_of
from app.outbox.vault import BODY, Vault

MAX_UNITS = 10**15
"""Amounts of this many units or more are refused: sums of less are exact up to 9,000 of the greatest per state."""
_MICROSECOND = timedelta(microseconds=1)
_encoder = msgspec.msgpack.Encoder()


class Encoded(msgspec.Struct, array_like=True, frozen=True):
    """What does not depend on the id a plan gets."""

    basket: bytes
    destinations: tuple[str, ...]
    money: tuple[str, int, int]
    planned: list[tuple[str, int, int]]
    terms: list[Term]
    verdicts: dict[str, tuple[str, str | None, str | None]]
    nonce: int
    marks: str = ""
    held: tuple[int, ...] = ()
    """For how many microseconds from acceptance each is held; empty where none is."""


def encode_plan(plan: Plan, vault: Vault) -> Encoded:
    """A plan, encoded, with its event sealed.

    Raises:
        ValueError, TypeError, OverflowError: There is something in it that cannot be kept.
    """
    request = plan.id_request
    for text in (request.source, request.event_name, request.asked, request.derived, request.transaction):
        if text is not None:
            text.encode()
    terms: dict[Budget, int] = {}
    planned = [
        (each.destination, int(each.limited), terms.setdefault(each.budget, len(terms))) for each in plan.deliveries
    ]
    return Encoded(
        vault.seal(squeeze(plan.event), BODY),
        tuple(each.destination for each in plan.deliveries),
        counted(plan.event.money),
        planned,
        [_term(budget) for budget in terms],
        {
            name: (verdict.outcome, verdict.reason, verdict.reason_detail)
            for name, verdict in plan.verdicts.items()
            if verdict.outcome is not Outcome.QUEUED
        },
        int.from_bytes(os.urandom(4), "big"),
        "".join(marks_text(marks_of(plan.event.persons))),
        _held(plan),
    )


def _held(plan: Plan) -> tuple[int, ...]:
    if not plan.is_held:
        return ()
    return tuple(
        0 if each.held_until is None else max(0, (each.held_until - plan.accepted_at) // _MICROSECOND)
        for each in plan.deliveries
    )


def _term(budget: Budget) -> Term:
    pair_until = False if budget.pair_until is None else to_us(budget.pair_until)
    return Term(to_us(budget.window_until), pair_until, budget.repeat_for // _MICROSECOND)


def counted(money: tuple[str, Decimal] | None) -> tuple[str, int, int]:
    """Currency, whole units and millionths, which is how the ledger counts; no currency where there is no money.

    Raises:
        ValueError: It cannot be counted exactly.
    """
    if money is None:
        return "", 0, 0
    currency, amount = money
    units = int(amount)
    millionths = (amount - units) * MILLION
    if abs(units) >= MAX_UNITS or millionths != int(millionths):
        raise ValueError("an amount of money has too many digits to be counted exactly")
    return currency, units, int(millionths)


def queue_text(queue: Queue) -> str:
    """How the keys name a queue."""
    kind = "held" if queue.is_held else "bulk" if queue.is_bulk else "live"
    return f"{kind}\t{queue.event_name}\t{queue.source}"


def acceptance(
    plan: Plan, encoded: Encoded, event_id: str, field: msgspec.Raw, reserved_s: int, *, is_other_id: bool
) -> tuple[Any, ...]:
    """What `accept.lua` is told of a plan, once its id is known."""
    request = plan.id_request
    head = Head(
        request.source,
        request.event_name,
        event_id,
        request.transaction or False,
        request.occurrence or False,
        encoded.verdicts,
        encoded.marks,
    )
    queue = queue_of(request.source, request.event_name, is_bulk=plan.is_bulk, is_held=bool(encoded.held))
    lead = Lead(event_id, *encoded.money, encoded.planned, encoded.terms)
    return (
        field,
        blob(_encoder.encode(head)),
        blob(encoded.basket),
        blob(_encoder.encode(lead)),
        to_us(plan.accepted_at),
        to_seconds(request.remember_until),
        encoded.nonce,
        queue_text(queue),
        is_other_id,
        request.send_conflicts,
        reserved_s,
        encoded.destinations,
        *encoded.money,
        name_mark(request.event_name),
        transaction_mark(request.transaction, request.occurrence),
    )
