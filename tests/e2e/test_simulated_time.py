"""Outages of hours and days, on a clock that the test moves: what still counts is delivered, what does not is told.

The gateway's runtime, its lanes, its store and the HTTP to the platforms are real; only the clocks of both sides are
the test's. Each scenario begins with an hour in which half of all answers get lost, so that what the platforms took
and what the gateway knows of it differ before the outage starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import load
from app.delivery.letters import replay
from app.errors import Outcome, Reason
from app.main import create_app
from app.outbox.port import DeadFilter, DeliveryState
from app.runtime import Runtime
from tests.e2e.harness import (
    JSON,
    PINTEREST,
    PLATFORMS,
    SNAPCHAT,
    TIKTOK,
    Order,
    Sandbox,
    assert_ledger_closes,
    body_of,
    epoch,
    money,
    source,
    write_config,
)

pytestmark = pytest.mark.anyio

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STEP = timedelta(minutes=10)
RECOVERY = timedelta(minutes=2)
LOSSY = timedelta(hours=1)
WINDOW = timedelta(hours=48)
TUNING = {"linger": "0ms", "lease": "30m"}
"""The lease outlasts a step of the clock: a send that is under way while it jumps is not taken for a crashed one."""
SLACK = timedelta(minutes=30)
"""How long a backlog may take to leave after an outage: an order that reaches its window's end meanwhile may expire."""
KEYS = {"shop": "ck_shop", "quiet": "ck_quiet"}
SOURCES = (
    source("shop", KEYS["shop"]),
    # A shop without a pixel: its orders have no twin, so that only the platforms' age windows bound them.
    source("quiet", KEYS["quiet"], pixel=False, event_id_template="{source}_{event_name}_{transaction}"),
)
LONG_MEMORY = frozenset({SNAPCHAT})
"""Where a purchase is recognised by its order id for a month."""
UNKNOWN = (Outcome.DEAD, Reason.OUTCOME_UNKNOWN)
TOO_LATE = (Outcome.EXPIRED, Reason.DEDUP_WINDOW_PASSED)
DELIVERED = (Outcome.DELIVERED, None)


@dataclass(slots=True)
class Clock:
    """The time for both sides."""

    instant: datetime = START

    def __call__(self) -> datetime:
        return self.instant


@dataclass(slots=True)
class World:
    """A running gateway on the test's clock, the platforms on the same, and what was posted."""

    clock: Clock
    sandbox: Sandbox
    runtime: Runtime
    http: httpx.AsyncClient
    web: list[Order] = field(default_factory=list)
    quiet: list[Order] = field(default_factory=list)
    store: list[Order] = field(default_factory=list)
    pixeled: list[Order] = field(default_factory=list)

    @property
    def posted(self) -> list[Order]:
        return [*self.web, *self.quiet, *self.store]

    async def advance(self, by: timedelta) -> None:
        """Move both clocks on."""
        self.clock.instant += by
        await asyncio.to_thread(self.sandbox.set_clock, epoch(self.clock.instant))

    async def post(self, order: Order, key: str) -> None:
        reply = await self.http.post(
            "/v1/events", content=body_of([order]), headers={**JSON, "authorization": f"Bearer {KEYS[key]}"}
        )
        assert reply.status_code == 202, reply.text
        (result,) = reply.json()["results"]
        assert (result["status"], result["event_id"]) == ("accepted", order.event_id), result

    async def trade(self, number: int) -> None:
        """Ten minutes' orders: one with a pixel, one of a shop without any, sometimes one over the counter."""
        at = epoch(self.clock.instant)
        web = Order(f"W-{number}", Decimal(1000 + number) / 100, at=at)
        quiet = Order(f"Q-{number}", Decimal(2000 + number) / 100, at=at, prefix="quiet_purchase_")
        await self.post(web, "shop")
        await self.post(quiet, "quiet")
        self.web.append(web)
        self.quiet.append(quiet)
        if number % 3 == 0:
            store = Order(f"S-{number}", Decimal(3000 + number) / 100, action_source="physical_store", at=at)
            await self.post(store, "shop")
            self.store.append(store)
        if number % 2 == 0:
            await asyncio.to_thread(self.sandbox.fire_pixels, web.pixel_copies())
            self.pixeled.append(web)

    async def attempts(self) -> dict[str, int]:
        """How many requests each platform has seen."""
        totals = await asyncio.to_thread(self.sandbox.totals)
        return {name: totals.get(name, {}).get("requests", 0) for name in PLATFORMS}

    async def ledger(self) -> dict[str, Any]:
        reply = await self.http.get("/v1/ledger", headers={"authorization": f"Bearer {KEYS['shop']}"})
        assert reply.status_code == 200, reply.text
        accounts: dict[str, Any] = reply.json()["destinations"]
        return accounts

    async def settle(self) -> None:
        """Let simulated time pass until nothing is pending."""
        began = self.clock.instant
        deadline = time.monotonic() + 30
        while (waiting := sum(account["pending"] for account in (await self.ledger()).values())) > 0:
            assert time.monotonic() < deadline, f"{waiting} deliveries pending after {self.clock.instant - began}"
            before = await self.attempts()
            await self.advance(RECOVERY)
            await _until_or(0.1, partial(self._has_tried, before))

    async def _has_tried(self, before: Mapping[str, int]) -> bool:
        return await self.attempts() != before

    async def fates(self, some: Iterable[Order]) -> dict[str, Mapping[str, DeliveryState]]:
        """What the journal says of these orders, by event id and destination."""
        found = {}
        for order in some:
            (state,) = await self.runtime.store.event(order.event_id)
            found[order.event_id] = state.destinations
        return found


async def _until_or(seconds: float, is_so: Callable[[], Any]) -> bool:
    """Whether `is_so` came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await is_so():
            return True
        await asyncio.sleep(0.005)
    return False


@contextlib.asynccontextmanager
async def world(folder: Path, sandbox: Sandbox) -> AsyncIterator[World]:
    settings = load(write_config(folder, sandbox.url, sources=SOURCES, tuning=TUNING), {})
    clock = Clock()
    async with Runtime.open(settings, now=clock) as runtime:
        transport = httpx.ASGITransport(app=create_app(runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            made = World(clock, sandbox, runtime, http)
            await made.advance(timedelta(0))
            yield made


async def outage(made: World, fault: str, length: timedelta) -> None:
    """An hour of lost answers, then the platforms are gone for `length`; orders come in every ten minutes."""
    end_of_loss = START + LOSSY
    back = end_of_loss + length
    is_down = False
    half = {"kind": "lost_answer", "times": None, "probability": 0.5}
    await asyncio.to_thread(made.sandbox.script_all, half, seed=7)
    look_every = 1 if length < timedelta(hours=12) else 3
    number = 0
    idle: Counter[str] = Counter()
    before = await made.attempts()
    while made.clock.instant < back:
        if not is_down and made.clock.instant >= end_of_loss:
            await asyncio.to_thread(made.sandbox.script_all, {"kind": fault, "times": None})
            is_down = True
        await made.trade(number)
        if number % look_every == 0:
            await _until_or(0.2, partial(_every_one_tried, made, before))
            now = await made.attempts()
            # A lane that reads its answer while the clock jumps counts its wait from then: it may miss one, not two.
            idle = Counter({name: idle[name] + 1 for name in PLATFORMS if now[name] == before[name]})
            assert max(idle.values(), default=0) < 2, f"no lane should be this idle in an outage: {idle}"
            before = now
        await made.advance(STEP)
        number += 1
    await asyncio.to_thread(made.sandbox.heal)


async def _every_one_tried(made: World, before: Mapping[str, int]) -> bool:
    now = await made.attempts()
    return all(now[name] > before[name] for name in PLATFORMS)


@pytest.mark.parametrize("fault", ["down", "500"])
@pytest.mark.parametrize("hours", [3, 60])
async def test_an_outage_loses_nothing_that_still_counts_and_counts_nothing_twice(
    fault: str,
    hours: int,
    tmp_path: Path,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    figures: Callable[[str], None],
) -> None:
    # The lanes look at the clock once a second of real time; here ten minutes pass within a few milliseconds.
    monkeypatch.setattr("app.delivery.lane.POLL", timedelta(milliseconds=5))
    async with asyncio.timeout(240), world(tmp_path, sandbox) as made:
        await outage(made, fault, timedelta(hours=hours))
        back = made.clock.instant
        await made.settle()
        fates = await made.fates(made.posted)
        assert_reasons_fit(made, fates, back, fault)
        before = {name: sandbox.counted(name) for name in PLATFORMS}
        assert_counted_once(made, fates)
        assert_ledger_closes(await made.ledger())

        replayed = (await replay(made.runtime.store, DeadFilter(), made.clock.instant + STEP, 10_000)).done
        assert replayed == number_of(fates, Outcome.DEAD)
        assert sum(account["pending"] for account in (await made.ledger()).values()) == replayed
        await made.settle()
        again = await made.fates(made.posted)
        assert_counted_once(made, again)
        assert before == {name: sandbox.counted(name) for name in PLATFORMS}, "a replay counted what was unknown"
        await assert_ledger_tells(made, again)
        figures(_told(made, fates, again, replayed))


def assert_reasons_fit(
    made: World, fates: Mapping[str, Mapping[str, DeliveryState]], back: datetime, fault: str
) -> None:
    """Every order ended as its age and its attempts allow, for a reason that says so."""
    for order in made.web:
        assert order.at is not None
        ends = datetime.fromtimestamp(order.at, UTC) + WINDOW
        for name, state in fates[order.event_id].items():
            end = (state.outcome, state.reason)
            where = f"{order.number} at {name}: {state}, window ended {ends - back} after the platforms were back"
            if name in LONG_MEMORY or ends >= back + SLACK:
                assert end == DELIVERED, where
            elif ends <= back and not _arrived_early(state):
                assert end in {TOO_LATE, UNKNOWN}, where
            else:
                assert end in {DELIVERED, TOO_LATE, UNKNOWN}, where
    for order in made.quiet:
        # Never TOO_LATE: without a pixel there is no twin to miss. Unknown only where an attempt was.
        assert order.at is not None
        asked = datetime.fromtimestamp(order.at, UTC)
        for name, state in fates[order.event_id].items():
            end = (state.outcome, state.reason)
            may_be_unknown = name not in LONG_MEMORY and asked + WINDOW < back + SLACK
            lost = fault == "down" or asked < START + LOSSY
            assert end == DELIVERED or (may_be_unknown and lost and end == UNKNOWN), f"{order.number} {name}: {end}"
    for order in made.store:
        assert order.at is not None
        is_lossy = datetime.fromtimestamp(order.at, UTC) < START + LOSSY
        for name, state in fates[order.event_id].items():
            end = (state.outcome, state.reason)
            if name == TIKTOK:
                assert end == (Outcome.SKIPPED, Reason.EVENT_NOT_SUPPORTED)
            elif name == PINTEREST:
                # Deduplicated by nobody: what may have arrived is never sent again.
                allowed = {DELIVERED, UNKNOWN} if is_lossy or fault == "down" else {DELIVERED}
                assert end in allowed, f"{order.number} at {name}: {end}"
            else:
                assert end == DELIVERED, f"{order.number} at {name}: {end}"


def assert_counted_once(made: World, fates: Mapping[str, Mapping[str, DeliveryState]]) -> None:
    """Each platform shows what was delivered or its pixel reported, once each, and else only lost answers."""
    for name in PLATFORMS:
        counted = made.sandbox.counted(name)
        assert set(counted.values()) <= {1}, [event_id for event_id, times in counted.items() if times > 1]
        delivered = {event_id for event_id, states in fates.items() if states[name].outcome is Outcome.DELIVERED}
        unknown = {event_id for event_id, states in fates.items() if _end(states[name]) == UNKNOWN}
        expired = {event_id for event_id, states in fates.items() if states[name].outcome is Outcome.EXPIRED}
        pixel = {order.event_id for order in made.pixeled}
        assert delivered | pixel <= counted.keys(), f"{name} counts too little"
        # An answer that was lost before the outage: the platform has the event, and the gateway cannot know.
        taken = made.sandbox.taken(name).keys()
        assert counted.keys() == taken | pixel
        assert taken <= delivered | unknown | expired
        lost_early = {o.event_id for o in made.posted if o.at is not None and o.at < epoch(START + LOSSY)}
        assert taken - delivered <= lost_early, f"{name} took what the gateway has no word of"


async def assert_ledger_tells(made: World, fates: Mapping[str, Mapping[str, DeliveryState]]) -> None:
    """The ledger closes and says of every destination what the journal says, in events and in money."""
    ledger = await made.ledger()
    assert_ledger_closes(ledger)
    for name in PLATFORMS:
        for outcome in (Outcome.DELIVERED, Outcome.DEAD, Outcome.EXPIRED):
            those = [order for order in made.posted if fates[order.event_id][name].outcome is outcome]
            assert ledger[name][outcome] == len(those)
            assert Decimal(ledger[name]["money"]["EUR"][outcome]) == money(those)


def _arrived_early(state: DeliveryState) -> bool:
    """Whether it was delivered before the outage began."""
    return state.outcome is Outcome.DELIVERED and state.settled_at is not None and state.settled_at <= START + LOSSY


def number_of(fates: Mapping[str, Mapping[str, DeliveryState]], outcome: Outcome) -> int:
    return sum(state.outcome is outcome for states in fates.values() for state in states.values())


def _end(state: DeliveryState) -> tuple[Outcome, Reason | None]:
    return state.outcome, state.reason


def _told(
    made: World,
    fates: Mapping[str, Mapping[str, DeliveryState]],
    again: Mapping[str, Mapping[str, DeliveryState]],
    replayed: int,
) -> str:
    parts = []
    for name in PLATFORMS:
        ends: Sequence[tuple[str, int]] = sorted(
            Counter(
                f"{states[name].outcome}{f' ({states[name].reason})' if states[name].reason else ''}"
                for states in fates.values()
            ).items()
        )
        counted = sum(made.sandbox.counted(name).values())
        parts.append(f"{name} counted {counted}, " + ", ".join(f"{end} {number}" for end, number in ends))
    after = number_of(again, Outcome.DEAD)
    return f"orders {len(made.posted)}; {'; '.join(parts)}; replayed {replayed}, dead again {after}, counted twice 0"
