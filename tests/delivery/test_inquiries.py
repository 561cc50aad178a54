"""Questions asked later: when, how often, what a refusal changes, and what a crash or an outage does to them."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.delivery.inquiries import LEASE, LONGEST_BACKOFF, POLL, SPACING, Inquirer
from app.delivery.sender import Sender
from app.destinations.base import Later, Report
from app.errors import Reason
from app.model import Delivered, HttpCall, HttpReply, Park, Retry
from app.outbox import aftermath
from tests.delivery.support import NAME, Setup, adapter, config, opened
from tests.factories import START, FrozenClock, hashed_event

pytestmark = pytest.mark.anyio

FIRST = timedelta(minutes=30)


def read_status(reply: HttpReply, size: int) -> Report | Retry | Park:
    told = json.loads(reply.body)
    if reply.status != 200:
        return Park(detail="no") if reply.status == 403 else Retry(Reason.PLATFORM_ERROR, detail="not now")
    refused = {int(position): reason for position, reason in told.get("refused", {}).items()}
    return Report(told.get("final", True), refused, told.get("unplaced", {}))


LATER: Later[Any] = Later(
    first_after=lambda settings: FIRST,
    give_up_after=timedelta(days=3),
    ask=lambda trace_id, settings: HttpCall(f"https://platform.example/{trace_id}", b"", (), method="GET"),
    read=read_status,
    reasons=frozenset({"bad_event"}),
)


class Desk:
    """A lane whose platform takes everything under one trace id per request, and what it says afterwards."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.asked: list[str] = []
        self.answer: Any = httpx.Response(200, json={})
        self.sender = Sender(httpx.MockTransport(self._answer))
        taken = 0

        def read(_reply: HttpReply, deliveries: Any) -> list[Delivered]:
            nonlocal taken
            taken += 1
            return [Delivered(f"trace-{taken}")] * len(deliveries)

        self.destination = dataclasses.replace(adapter(), read=read, later=LATER)
        self.inquirer = Inquirer(
            lambda: config(destination=self.destination),
            LATER,
            setup.store,
            self.sender,
            setup.metrics,
            setup.clock.now,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]

    async def deliver(self, *numbers: int, **over: Any) -> None:
        await self.setup.put(*numbers, **over)
        pending = await self.setup.terms()
        async with self.setup.running(destination=self.destination):
            await self.setup.settled(delivered=pending["queued"])

    async def refusal(self, number: int) -> str | None:
        name = aftermath.refused_name("shop", "Purchase", f"purchase_{number}")
        kept = await self.setup.store.memos(aftermath.refused_book(NAME), [name])
        return kept[name].decode() if name in kept else None

    def counted(self, reason: str) -> float | None:
        labels = {"destination": NAME, "reason": reason}
        return self.setup.metrics.registry.get_sample_value("convey_rejected_after_acceptance_total", labels)


@pytest.fixture
async def desk(tmp_path: Any) -> Any:
    async with opened(tmp_path, FrozenClock(START)) as setup:
        made = Desk(setup)
        yield made
        await made.sender.close()


async def test_a_request_is_asked_about_once_its_time_has_come(desk: Desk) -> None:
    assert await desk.inquirer.turn() == POLL
    await desk.deliver(1, 2, 3)
    assert await desk.inquirer.turn() == POLL
    assert desk.asked == []
    desk.setup.clock.advance(FIRST)
    desk.answer = httpx.Response(200, json={"refused": {"1": "bad_event"}, "unplaced": {"novelty": 2}})
    assert await desk.inquirer.turn() == SPACING
    assert desk.asked == ["/trace-1"]
    assert [await desk.refusal(number) for number in (1, 2, 3)] == [None, "bad_event", None]
    assert (desk.counted("bad_event"), desk.counted("other")) == (1, 2)
    assert await desk.setup.terms() == {"queued": 3, "delivered": 3}
    desk.setup.clock.advance(timedelta(days=2))
    assert await desk.inquirer.turn() == POLL


async def test_the_gaps_grow_while_it_is_processed(desk: Desk) -> None:
    await desk.deliver(1)
    desk.answer = httpx.Response(200, json={"final": False, "refused": {"0": "bad_event"}})
    asked_at = []
    for _ in range(200):
        desk.setup.clock.advance(timedelta(minutes=15))
        before = len(desk.asked)
        await desk.inquirer.turn()
        if len(desk.asked) > before:
            asked_at.append((desk.setup.clock.now() - START) / timedelta(minutes=30))
    assert asked_at == [1, 2, 4, 8, 16, 28, 40, 52, 64, 76, 88, 100]  # half hours
    assert desk.counted("bad_event") is None
    desk.setup.clock.advance(timedelta(days=1))
    await desk.inquirer.turn()
    assert desk.counted("bad_event") == 1  # the last word there is
    assert await desk.inquirer.turn() == POLL


async def test_an_outage_backs_off_and_loses_no_question(desk: Desk) -> None:
    await desk.deliver(1)
    desk.setup.clock.advance(FIRST)
    waits = []
    for answer in (
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.Response(500, json={}),
        httpx.Response(403, json={}),
        httpx.Response(200, content=b"<html>"),
        *[httpx.Response(500, json={})] * 4,
    ):
        desk.answer = answer
        waits.append((await desk.inquirer.turn()).total_seconds())
        assert await desk.inquirer.turn() == POLL
        desk.setup.clock.advance(LONGEST_BACKOFF)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    desk.answer = httpx.Response(200, json={"refused": {"0": "bad_event"}})
    await desk.inquirer.turn()
    assert await desk.refusal(1) == "bad_event"


async def test_a_question_nobody_answers_is_given_up(desk: Desk) -> None:
    await desk.deliver(1)
    desk.answer = httpx.Response(500, json={})
    desk.setup.clock.advance(timedelta(days=4))
    await desk.inquirer.turn()
    desk.setup.clock.advance(timedelta(days=1))
    assert await desk.inquirer.turn() == POLL


async def test_an_asker_that_dies_leaves_the_question_to_the_next(desk: Desk) -> None:
    await desk.deliver(1)
    desk.setup.clock.advance(FIRST)
    assert len(await desk.setup.store.due_memos(aftermath.ask_book(NAME), 5, LEASE)) == 1
    assert await desk.inquirer.turn() == POLL
    desk.setup.clock.advance(LEASE)
    assert await desk.inquirer.turn() == SPACING


async def test_a_memo_nobody_can_read_is_dropped(desk: Desk) -> None:
    from app.outbox.port import Memo

    book = aftermath.ask_book(NAME)
    await desk.setup.store.keep_memos([Memo(book, "x", b"?", START + timedelta(days=1), START)])
    await desk.inquirer.turn()
    assert await desk.inquirer.turn() == POLL


async def test_nothing_is_asked_about_test_events(desk: Desk) -> None:
    await desk.deliver(1, event=hashed_event(is_test=True))
    desk.setup.clock.advance(FIRST)
    assert await desk.inquirer.turn() == POLL


def test_an_inquiry_keeps_ids_only() -> None:
    from tests.destinations import support as s

    asked = aftermath.asked_of(s.delivery(), is_adjustable=True)
    inquiry = aftermath.Inquiry(START, 2, (asked,) * 2000)
    packed = aftermath.encode_inquiry(inquiry)
    assert aftermath.decode_inquiry(packed) == inquiry
    assert (asked.event_id, asked.transaction) == ("purchase_ORD-12345", "ORD-12345")
    assert aftermath.asked_of(s.delivery(), is_adjustable=False).transaction is None
    assert set(aftermath.Asked.__struct_fields__) == {"source", "event_name", "event_id", "transaction"}
