"""From parsed events to answers: plan each, accept them together, say what became of every one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.dedup.context import completed, decode_context
from app.dedup.port import PAIR_RETENTION, IdStore, PairStore
from app.dedup.sightings import server_report
from app.errors import Fault, InvalidEvent, Outcome, Reason, Status, StoreFull, StoreUnavailable
from app.match_keys.counting import MatchKeys, given_parts
from app.metrics import CONSENT_SIGNALS, Metrics
from app.model import Accepted, Plan, Warn
from app.outbox.port import Outbox
from app.pipeline import TWIN_SOURCES, SourcePolicy, plan, transaction_of
from app.rejects import Rejects
from app.wire import Event
from app.withdrawals import Withdrawals

log = logging.getLogger("convey.ingest")

PLANS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Parsed:
    """One event of a request as parsed: the event and its warnings, or what is wrong with it."""

    event: Event | None
    warnings: tuple[Warn, ...] = ()
    faults: tuple[Fault, ...] = ()
    name: str = ""
    """What an event that could not be parsed is called, as far as that can be read."""


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of one event of a request. `accepted` is None exactly when it is invalid."""

    accepted: Accepted | None
    warnings: tuple[Warn, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def status(self) -> Status:
        """The status of the event."""
        return Status.INVALID if self.accepted is None else self.accepted.status


async def complete(ids: IdStore, source: str, items: Sequence[Parsed]) -> Sequence[Parsed]:
    """The items in order, each event with what the page of its order left for it.

    Raises:
        StoreUnavailable: The contexts cannot be read: an event planned without its own would be weaker for good.
    """
    keys = [None if item.event is None else transaction_of(item.event) for item in items]
    wanted = {key for key in keys if key is not None}
    found = await ids.contexts(source, wanted) if wanted else {}
    if not found:
        return items
    contexts = {key: decode_context(body) for key, body in found.items()}
    return [
        replace(item, event=completed(item.event, contexts[key]))
        if item.event is not None and key in contexts
        else item
        for item, key in zip(items, keys, strict=True)
    ]


class Ingest:
    """Takes events of the configured sources into the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        ids: IdStore,
        pairs: PairStore,
        withdrawals: Withdrawals,
        policies: Mapping[str, SourcePolicy],
        metrics: Metrics,
        now: Callable[[], datetime],
        match_keys: MatchKeys | None = None,
        rejects: Rejects | None = None,
    ) -> None:
        """`match_keys` and `rejects`, where they are, count what was queued and what was invalid."""
        self._outbox = outbox
        self._ids = ids
        self._pairs = pairs
        self._withdrawals = withdrawals
        self._policies = {name: (policy, policy.forms) for name, policy in policies.items()}
        self._metrics = metrics
        self._absent = {
            signal: metrics.consent_signals.labels(signal, "absent") for signal in (*CONSENT_SIGNALS, "any")
        }
        self._now = now
        self._match_keys = match_keys
        self._rejects = rejects

    async def take(self, source: str, items: Sequence[Parsed], *, is_bulk: bool = False) -> Sequence[IngestResult]:
        """One result per item, in order, once everything accepted is durable. Bulk lets live events go first.

        Raises:
            StoreUnavailable: Nothing of the request may be taken as accepted.
        """
        policy, forms = self._policies[source]
        posted, items = items, await complete(self._ids, source, items)
        now = self._now()
        results: list[IngestResult | None] = []
        plans: list[Plan] = []
        for position, item in enumerate(items, 1):
            if position % PLANS_AT_ONCE == 0:
                await asyncio.sleep(0)  # a large batch must not keep every other request waiting
            if item.event is None:
                results.append(IngestResult(None, item.warnings, item.faults))
                continue
            try:
                plans.append(plan(item.event, policy, forms, now))
            except InvalidEvent as error:
                results.append(IngestResult(None, item.warnings, error.faults))
            except Exception as error:  # a fault of ours in one event must not take its neighbours down
                log.error("event.plan_failed", exc_info=error, extra={"fields": {"source": source}})
                results.append(IngestResult(None, item.warnings, (_UNPROCESSABLE,)))
            else:
                results.append(None)
        if is_bulk:
            plans = [replace(planned, is_bulk=True) for planned in plans]
        plans = list(await self._withdrawals.deny(plans))
        accepted = await self._accept(source, plans)
        await self._sight(policy, plans, accepted, now)
        made = iter(zip(accepted, plans, strict=True))
        answers = [
            result if result is not None else _answer(*next(made), item)
            for result, item in zip(results, items, strict=True)
        ]
        self._count(source, answers)
        self._count_leaks(source, plans, answers)
        self._count_consent(plans, accepted)
        if self._match_keys is not None:
            planned = [position for position, result in enumerate(results) if result is None]
            self._match_keys.count(source, plans, accepted, _given(posted, items, planned), now)
        if self._rejects is not None and (invalid := _invalid(items, answers)):
            self._rejects.count(source, invalid)
        return answers

    async def _accept(self, source: str, plans: Sequence[Plan]) -> Sequence[Accepted | None]:
        """What the store made of each plan; None for one that it cannot hold, through a fault of ours."""
        if not plans:
            return ()
        try:
            return await self._outbox.accept(plans)
        except StoreUnavailable as error:
            if isinstance(error, StoreFull):
                self._metrics.refused_events.labels(error.limit).inc(len(plans))
            raise
        except Exception as error:
            if len(plans) == 1:
                log.error("event.accept_failed", exc_info=error, extra={"fields": {"source": source}})
                return (None,)
        return [accepted for each in plans for accepted in await self._accept(source, [each])]

    async def _sight(
        self, policy: SourcePolicy, plans: Sequence[Plan], outcomes: Sequence[Accepted | None], now: datetime
    ) -> None:
        """Note the server's copy beside what the page may report, and which order wanted another's id.

        Before the answer: whoever gets none posts again, and a side's first report is the one that counts.
        """
        reports = [
            server_report(planned, accepted, _names(planned, policy))
            for planned, accepted in zip(plans, outcomes, strict=True)
            if accepted is not None
            and (
                accepted.status is Status.CONFLICT
                or (policy.takes_receipts and policy.has_pixel and planned.event.action_source in TWIN_SOURCES)
            )
        ]
        if reports:
            await self._pairs.report(reports, now + policy.pair_after, now + PAIR_RETENTION)

    def _count(self, source: str, answers: Sequence[IngestResult]) -> None:
        statuses = Counter(answer.status for answer in answers)
        for status, number in statuses.items():
            self._metrics.events.labels(source, status).inc(number)
        outcomes: Counter[tuple[Any, ...]] = Counter(
            (name, verdict.outcome, verdict.reason or "")
            for answer in answers
            if answer.accepted is not None and answer.accepted.status is Status.ACCEPTED
            for name, verdict in answer.accepted.destinations.items()
            if verdict.outcome in {Outcome.QUEUED, Outcome.DENIED, Outcome.SKIPPED}
        )
        for labels, number in outcomes.items():
            self._metrics.ingest_outcomes.labels(*labels).inc(number)

    def _count_leaks(self, source: str, plans: Sequence[Plan], answers: Sequence[IngestResult]) -> None:
        leaks = Counter(leak for planned in plans for leak in planned.leaks)
        # An event that was refused for what it held never became a plan: its faults tell.
        leaks.update(
            (fault.code.removeprefix(LEAK), "rejected")
            for answer in answers
            for fault in answer.faults
            if fault.code.startswith(LEAK)
        )
        for (kind, action), number in leaks.items():
            self._metrics.leaks.labels(source, kind, action).inc(number)

    def _count_consent(self, plans: Sequence[Plan], accepted: Sequence[Accepted | None]) -> None:
        proofs = [
            planned.proof
            for planned, became in zip(plans, accepted, strict=True)
            if planned.proof is not None and became is not None and became.status is Status.ACCEPTED
        ]
        decisions = Counter(
            (
                name,
                "limited" if decision.limited and decision.reason is None else decision.outcome,
                decision.reason or "",
            )
            for proof in proofs
            for name, decision in proof.decisions.items()
        )
        for labels, number in decisions.items():
            self._metrics.consent_decisions.labels(*labels).inc(number)
        signals = Counter(pair for proof in proofs for pair in proof.signals.items())
        signals["any", "valid"] = sum(1 for proof in proofs if proof.signals)
        came: Counter[str] = Counter()
        for (signal, state), number in signals.items():
            self._metrics.consent_signals.labels(signal, state).inc(number)
            came[signal] += number
        for signal, absent in self._absent.items():
            absent.inc(len(proofs) - came[signal])


def _names(planned: Plan, policy: SourcePolicy) -> dict[str, str]:
    """What each destination calls the event, where it has a name for it."""
    names = {
        route.name: route.destination.pixel_name(planned.event, route.settings)
        for route in policy.routes
        if route.is_routed
    }
    return {name: called for name, called in names.items() if called is not None}


def _invalid(items: Sequence[Parsed], answers: Sequence[IngestResult]) -> list[tuple[str, Sequence[Fault]]]:
    """The names of the invalid events, with their faults."""
    return [
        (item.name if item.event is None else item.event.event_name, answer.faults)
        for item, answer in zip(items, answers, strict=True)
        if answer.accepted is None
    ]


def _given(posted: Sequence[Parsed], items: Sequence[Parsed], planned: Sequence[int]) -> dict[int, frozenset[str]]:
    """What contexts gave to the events that were planned, by position among those; `planned` are positions of items."""
    if items is posted:
        return {}
    both = [(posted[position].event, items[position].event) for position in planned]
    return {
        number: given_parts(event, completed)
        for number, (event, completed) in enumerate(both)
        if event is not None and completed is not None and completed is not event
    }


LEAK = "leak_"
"""What the codes of the leak guard begin with."""

_CONFLICT = Warn(
    "id_conflict",
    "/event_id",
    "this id belongs to another transaction, or this transaction has another id: nothing was queued, as it would "
    "vanish or count twice; send the id of the order's first event, or set on_conflict: send for the source",
)
_STILL_HELD = Warn(
    "still_held",
    "/hold",
    "an earlier copy is held back, and posting it again changes nothing: release it, or cancel it",
)
_NOT_HELD = Warn(
    "not_held", "/hold", "an earlier copy was posted without hold, or released since: it is not held back at every one"
)
_CANCELLED = Warn(
    "cancelled",
    "/transaction_id",
    "an earlier copy was held back and cancelled: this one is not sent; an order placed anew needs a transaction_id, "
    "or an occurrence, of its own",
)
_UNPROCESSABLE = Fault("", "unprocessable", "this event could not be processed; the operator's log says why")


def _told_of_hold(accepted: Accepted, planned: Plan) -> tuple[Warn, ...]:
    """What the caller should know where an earlier copy is held and this one is not, or the other way round."""
    pending = [accepted.destinations[each.destination] for each in planned.deliveries]
    if any((verdict.outcome, verdict.reason) == _ENDED_BY_CANCEL for verdict in pending):
        return (_CANCELLED,)
    if not planned.is_held:
        return (_STILL_HELD,) if any(verdict.held_until is not None for verdict in pending) else ()
    is_going = any(verdict.outcome in _GOING and verdict.held_until is None for verdict in pending)
    return (_NOT_HELD,) if is_going else ()


_ENDED_BY_CANCEL = (Outcome.WITHDRAWN, Reason.CANCELLED)
_GOING = frozenset({Outcome.QUEUED, Outcome.RETRYING, Outcome.DELIVERED})


def _answer(accepted: Accepted | None, planned: Plan, item: Parsed) -> IngestResult:
    warnings = item.warnings + planned.warnings
    if accepted is not None and accepted.status is Status.CONFLICT:
        warnings += (_CONFLICT,)
    elif accepted is not None and accepted.destinations is not planned.verdicts:  # there was an earlier copy
        warnings += _told_of_hold(accepted, planned)
    return IngestResult(accepted, warnings, () if accepted is not None else (_UNPROCESSABLE,))
