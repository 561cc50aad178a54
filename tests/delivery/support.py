"""A lane over a real store, and a platform that answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx

from app.delivery.board import Board
from app.delivery.lane import Lane, LaneConfig
from app.delivery.retry import RetryPolicy
from app.delivery.sender import Sender
from app.destinations.base import Admit, Destination, DestinationSettings, Limits, unreadable
from app.errors import Reason
from app.metrics import Metrics
from app.model import Delivered, Delivery, HttpCall, HttpReply, Park, Plan, Rejected, Result, Retry, Split
from app.outbox.sqlite import SqliteStore
from app.withdrawals import Withdrawals
from tests.factories import FrozenClock, plan

NAME = "meta"
SECOND = timedelta(seconds=1)
LEASE = 20 * SECOND


async def until(condition: Callable[[], Awaitable[bool] | bool], within_s: float = 8) -> None:
    """Return once `condition` holds; fail when it does not in time."""
    with anyio.fail_after(within_s):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await anyio.sleep(0.002)


# --- a platform and its adapter -----------------------------------------------------------------------------------

Answer = dict[str, Any] | httpx.Response
WORDS: dict[str, Result] = {
    "taken": Delivered("trace"),
    "refused": Rejected(detail="code 100"),
    "later": Retry(Reason.PLATFORM_ERROR, detail="try again"),
    "limited": Retry(Reason.RATE_LIMITED, timedelta(minutes=2)),
    "puzzle": Retry(Reason.PLATFORM_ERROR, detail="nobody knows this answer", max_attempts=8),
}


class Platform:
    """Answers each batch with `answer`, and keeps the batches: the event_ids of each, in order of arrival."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answer: Callable[[list[str]], Awaitable[Answer] | Answer] = lambda ids: {}
        self.under_way = 0
        self.most_under_way = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Serve one request."""
        ids = json.loads(request.content)
        self.batches.append(ids)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self.answer(ids)
            told = answer if isinstance(answer, dict | httpx.Response) else await answer
        finally:
            self.under_way -= 1
        return told if isinstance(told, httpx.Response) else httpx.Response(200, json=told)

    @property
    def sizes(self) -> list[int]:
        """How many events each request had."""
        return [len(batch) for batch in self.batches]

    @property
    def asked(self) -> list[str]:
        """Every event_id that arrived, in order, repeats included."""
        return [event_id for batch in self.batches for event_id in batch]


async def body_left(request: httpx.Request) -> None:
    """Tell what the transport tells once the body goes out."""
    await request.extensions["trace"]("http11.send_request_body.started", {})


def build(deliveries: Sequence[Delivery], settings: Any) -> Sequence[HttpCall]:
    """One request for all; `properties.unbuildable` makes an event one that cannot be built."""
    for delivery in deliveries:
        if delivery.event.custom_data.properties.get("unbuildable"):
            raise ValueError("zq7x in an event")
    return [request_for(deliveries)]


def build_each(deliveries: Sequence[Delivery], settings: Any) -> Sequence[HttpCall]:
    """A request for each."""
    return [request_for([delivery]) for delivery in deliveries]


def request_for(deliveries: Sequence[Delivery]) -> HttpCall:
    """The request that carries these."""
    body = json.dumps([delivery.event_id for delivery in deliveries]).encode()
    return HttpCall("https://platform.example/", body, tuple(deliveries))


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """`{"whole": "split" | "park"}`, or a word per event_id; whoever has none is taken."""
    if reply.status != 200:
        return unreadable(reply, len(deliveries))
    told = json.loads(reply.body)
    if told.get("whole") == "split":
        return Split("code 100", tuple(told.get("suspects", ())))
    if told.get("whole") == "park":
        return Park(detail="code 190")
    if told.get("whole") == "crash":
        raise KeyError("zq7x in an answer")
    return [WORDS[told.get(delivery.event_id, told.get("all", "taken"))] for delivery in deliveries]


def adapter(how: Callable[[Sequence[Delivery], Any], Sequence[HttpCall]] = build) -> Destination[Any]:
    """The platform's adapter."""
    return Destination(
        name="stub",
        settings=DestinationSettings,
        limits=Limits(1000, 1_000_000),
        needs=frozenset(),
        is_limited_supported=False,
        has_test_mode=lambda settings: True,
        admit=lambda event, settings, now: Admit(now + timedelta(days=7)),
        build=how,
        read=read,
    )


# --- a lane -------------------------------------------------------------------------------------------------------


def config(**over: Any) -> LaneConfig:
    """A lane of one request at a time, with no linger and the shortest waits."""
    fields: dict[str, Any] = {
        "name": NAME,
        "destination": adapter(),
        "settings": None,
        "linger": timedelta(0),
        "timeout": 10 * SECOND,
        "lease": LEASE,
        "max_items": 1000,
        "max_in_flight": 1,
        "retry": RetryPolicy(),
    }
    return LaneConfig(**{**fields, **over})


class Setup:
    """A lane, its store, its platform, its clock and its numbers."""

    def __init__(self, store: SqliteStore, clock: FrozenClock) -> None:
        self.store = store
        self.clock = clock
        self.platform = Platform()
        self.metrics = Metrics("0", ["shop"], [NAME])
        self.sender = Sender(httpx.MockTransport(self.platform))
        self.outbox: Any = store
        self.withdrawals = Withdrawals(store, b"a secret of the store")
        self.board = Board(store, clock.now)
        self.progress = 0

    def lane(self, board: Board | None = None, **over: Any) -> Lane:
        """A lane that is not at work yet; chance always picks the middle."""
        return Lane(
            config(**over),
            self.outbox,
            self.withdrawals,
            board or self.board,
            self.sender,
            self.metrics,
            self.clock.now,
            uniform=lambda: 0.5,
            progressed=self._progressed,
        )

    def _progressed(self, name: str) -> None:
        assert name == NAME
        self.progress += 1

    @contextlib.asynccontextmanager
    async def running(self, lane: Lane | None = None, **over: Any) -> AsyncIterator[Lane]:
        """A lane at work with its board; afterwards it stops and everything under way is settled."""
        lane = lane or self.lane(**over)
        stopping = asyncio.Event()
        board = lane._board
        await board.sync()
        tasks = [asyncio.create_task(lane.run()), asyncio.create_task(board.run(stopping))]
        try:
            yield lane
        finally:
            lane.stop()
            stopping.set()
            await asyncio.gather(*tasks)

    async def put(self, *numbers: int | str, **over: Any) -> list[str]:
        """Queue purchases; returns their event_ids."""
        plans = [self.plan(number, **over) for number in numbers]
        return [accepted.event_id for accepted in await self.store.accept(plans)]

    def plan(self, number: int | str, **over: Any) -> Plan:
        """The plan for a purchase, made now."""
        return plan(str(number), (NAME,), accepted_at=self.clock.now(), **over)

    async def terms(self) -> dict[str, int]:
        """The ledger's terms that are not zero."""
        ledger = await self.store.ledger()
        account = ledger[NAME]
        assert account.is_closed
        return {term: number for term, number in account.deliveries.items() if number}

    async def settled(self, **expected: int) -> None:
        """Wait until the ledger has these terms, and no others."""
        expected["queued"] = sum(expected.values())

        async def holds() -> bool:
            return await self.terms() == expected

        await until(holds)

    async def state(self, event_id: str) -> Any:
        """What became of one delivery."""
        (event,) = await self.store.event(event_id, "shop")
        return event.destinations[NAME]

    async def reclaimed(self, after: timedelta = timedelta(0)) -> dict[str, Delivery]:
        """What is ready after some time, by event_id."""
        self.clock.advance(after)
        return {delivery.event_id: delivery for delivery in await self.store.claim(NAME, 1000, LEASE)}

    def attempts(self, result: str) -> float | None:
        """How many requests had this verdict."""
        labels = {"destination": NAME, "result": result}
        return self.metrics.registry.get_sample_value("convey_delivery_attempts_total", labels)


@contextlib.asynccontextmanager
async def opened(folder: Path, clock: FrozenClock) -> AsyncIterator[Setup]:
    """A store that is thrown away, and what a lane needs."""
    store = await SqliteStore.open(folder / "convey.db", destinations=[NAME], now=clock.now, synchronous="OFF")
    setup = Setup(store, clock)
    try:
        yield setup
    finally:
        await setup.sender.close()
        await store.close()


def ids(*numbers: int) -> list[str]:
    """The event_ids of purchases."""
    return [f"purchase_{number}" for number in numbers]
