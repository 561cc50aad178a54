"""From parsed events to answers, over an outbox that is told what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from app import ingest, pipeline
from app.consent.needs import ConsentOptions
from app.dedup.port import SideReport
from app.errors import Fault, Status, StoreUnavailable
from app.ingest import Ingest, IngestResult, Parsed
from app.metrics import Metrics
from app.model import Accepted, Plan, Warn
from app.outbox.port import Memo
from app.wire import Event
from app.withdrawals import Withdrawals
from tests.factories import START
from tests.pipeline.support import ALLOWED, policy, route, wire

pytestmark = pytest.mark.anyio

TOLD = Warn("unknown_field", "/shiny", "dropped")
FAULT = Fault("/event_name", "missing", "is required")


class Outbox:
    """Takes every plan, or does what it is told with them."""

    def __init__(self) -> None:
        self.calls: list[list[str | None]] = []
        self.answer: Callable[[Plan], Accepted] = lambda plan: Accepted(
            plan.id_request.derived, Status.ACCEPTED, plan.verdicts
        )

    async def accept(self, plans: Sequence[Plan]) -> Sequence[Accepted]:
        self.calls.append([plan.id_request.transaction for plan in plans])
        return [self.answer(plan) for plan in plans]


class Ids:
    """Keeps the contexts it is given."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def contexts(self, source: str, transactions: Collection[str]) -> Mapping[str, bytes]:
        return {key: body for key, body in self.kept.items() if key in transactions}


class Notes:
    """Keeps the memos it is given."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def keep_memos(self, memos: Sequence[Memo]) -> None:
        self.kept |= {memo.name: memo.value for memo in memos}

    async def memos(self, book: str, names: Collection[str]) -> Mapping[str, bytes]:
        return {name: value for name, value in self.kept.items() if name in names}


class Pairs:
    """Keeps the sightings it is told of."""

    def __init__(self) -> None:
        self.reports: list[SideReport] = []

    async def report(self, reports: Sequence[SideReport], due_at: datetime, until: datetime) -> int:
        self.reports += reports
        return len(reports)


def item(transaction: str, **over: Any) -> Parsed:
    """An event as parsed, with a warning."""
    return Parsed(Event.model_validate(wire(transaction_id=transaction, **over)), (TOLD,))


def bad() -> Parsed:
    """An event that could not be parsed."""
    return Parsed(None, (TOLD,), (FAULT,))


class Setup:
    """An ingest with its outbox and its numbers."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.ids = Ids()
        self.pairs = Pairs()
        self.withdrawals = Withdrawals(Notes(), b"secret")  # type: ignore[arg-type]
        self.metrics = Metrics("0", ["shop"], ["one"])
        self.ingest = Ingest(
            self.outbox,  # type: ignore[arg-type]
            self.ids,  # type: ignore[arg-type]
            self.pairs,  # type: ignore[arg-type]
            self.withdrawals,
            {"shop": policy(route())},
            self.metrics,
            lambda: START,
        )

    async def take(self, *items: Parsed) -> Sequence[IngestResult]:
        """What becomes of these."""
        return await self.ingest.take("shop", items)

    def count(self, name: str, **labels: str) -> float | None:
        """One number."""
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def setup() -> Setup:
    return Setup()


async def test_results_keep_the_order_of_the_request(setup: Setup) -> None:
    results = await setup.take(item("A"), bad(), item("B", destinations=["nowhere"]), item("C"))
    assert [result.status for result in results] == [Status.ACCEPTED, Status.INVALID, Status.INVALID, Status.ACCEPTED]
    assert [result.accepted.event_id if result.accepted else None for result in results] == [
        "purchase_A",
        None,
        None,
        "purchase_C",
    ]
    assert setup.outbox.calls == [["A", "C"]]
    assert results[1].faults == (FAULT,)
    assert [fault.pointer for fault in results[2].faults] == ["/destinations/0"]
    assert all(TOLD in result.warnings for result in results)


async def test_warnings_of_parsing_and_planning_are_told_together(setup: Setup) -> None:
    (result,) = await setup.take(item("A", event_name="order completed", consent={}))
    assert [warning.code for warning in result.warnings] == ["unknown_field", "event_name_alias"]


async def test_decisions_and_signals_of_consent_are_counted(setup: Setup) -> None:
    await setup.take(
        item("A"),
        item("B", consent={}),
        item("C", consent={"tcf": "CQ", "gpc": True, **ALLOWED}),
        item("D", destinations=[]),
        bad(),
    )

    def decided(decision: str, reason: str = "") -> float | None:
        return setup.count("convey_consent_decisions_total", destination="one", decision=decision, reason=reason)

    def came(signal: str, state: str) -> float | None:
        return setup.count("convey_consent_signals_total", signal=signal, state=state)

    assert (decided("queued"), decided("limited")) == (1, 0)
    assert (decided("denied", "consent_missing"), decided("denied", "signal_malformed")) == (1, 1)
    assert (came("consent_mode", "valid"), came("consent_mode", "absent")) == (3, 1)
    assert (came("tcf", "TCF_TRUNCATED"), came("tcf", "valid"), came("tcf", "absent")) == (1, 0, 3)
    assert (came("gpc", "valid"), came("gpc", "absent")) == (1, 3)
    assert (came("any", "valid"), came("any", "absent")) == (3, 1)


async def test_a_limited_decision_is_counted_as_such(setup: Setup) -> None:
    limited = replace(policy(route()), consent=ConsentOptions(policy="regional"))
    stores: dict[str, Any] = {"outbox": setup.outbox, "ids": setup.ids, "pairs": setup.pairs}
    ingest = Ingest(
        **stores, withdrawals=setup.withdrawals, policies={"shop": limited}, metrics=setup.metrics, now=lambda: START
    )
    await ingest.take("shop", [item("A", consent={"jurisdiction": "US"})])
    labels = {"destination": "one", "decision": "limited", "reason": ""}
    assert setup.count("convey_consent_decisions_total", **labels) == 1


async def test_the_store_is_left_alone_when_there_is_nothing_to_keep(setup: Setup) -> None:
    (result,) = await setup.take(bad())
    assert result.status is Status.INVALID
    assert setup.outbox.calls == []


async def test_a_fault_of_ours_in_planning_costs_one_event(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def sometimes(event: Event, *rest: Any) -> Plan:
        if event.transaction_id == "B":
            raise ZeroDivisionError("zq7x")
        return pipeline.plan(event, *rest)

    monkeypatch.setattr(ingest, "plan", sometimes)
    results = await setup.take(item("A"), item("B"), item("C"))
    assert [result.status for result in results] == [Status.ACCEPTED, Status.INVALID, Status.ACCEPTED]
    assert [fault.code for fault in results[1].faults] == ["unprocessable"]
    assert "zq7x" not in results[1].faults[0].detail
    assert [record.msg for record in caplog.records if record.levelno >= logging.ERROR] == ["event.plan_failed"]


async def test_a_fault_of_ours_in_accepting_costs_one_event(setup: Setup) -> None:
    taken = setup.outbox.answer

    def sometimes(plan: Plan) -> Accepted:
        if plan.id_request.transaction == "B":
            raise TypeError("zq7x")
        return taken(plan)

    setup.outbox.answer = sometimes
    results = await setup.take(item("A"), item("B"), bad(), item("C"))
    assert [result.status for result in results] == [
        Status.ACCEPTED,
        Status.INVALID,
        Status.INVALID,
        Status.ACCEPTED,
    ]
    assert [fault.code for fault in results[1].faults] == ["unprocessable"]
    assert TOLD in results[1].warnings
    assert results[3].accepted is not None
    assert results[3].accepted.event_id == "purchase_C"


async def test_a_store_that_cannot_keep_fails_the_whole_request(setup: Setup) -> None:
    def never(plan: Plan) -> Accepted:
        raise StoreUnavailable("full")

    setup.outbox.answer = never
    with pytest.raises(StoreUnavailable):
        await setup.take(item("A"), item("B"))
    assert len(setup.outbox.calls) == 1
    assert setup.count("convey_events_total", source="shop", status="accepted") == 0


async def test_large_requests_let_others_in_between(setup: Setup) -> None:
    results = await setup.take(*(item(str(number)) for number in range(250)))
    assert {result.status for result in results} == {Status.ACCEPTED}
    assert setup.outbox.calls == [[str(number) for number in range(250)]]


async def test_events_and_outcomes_are_counted(setup: Setup) -> None:
    await setup.take(item("A"), item("B", consent={}), bad())
    setup.outbox.answer = lambda plan: Accepted("x", Status.DUPLICATE, plan.verdicts)
    await setup.take(item("A"))
    setup.outbox.answer = lambda plan: Accepted("x", Status.CONFLICT, {})
    await setup.take(item("A"))
    assert {
        status: setup.count("convey_events_total", source="shop", status=status)
        for status in ("accepted", "invalid", "duplicate", "conflict")
    } == {"accepted": 2, "invalid": 1, "duplicate": 1, "conflict": 1}
    name = "convey_ingest_outcomes_total"
    assert setup.count(name, destination="one", outcome="queued", reason="") == 1
    assert setup.count(name, destination="one", outcome="denied", reason="consent_missing") == 1
