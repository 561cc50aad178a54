"""The worker: lanes side by side, gauges from the store, stopping in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.delivery import worker as worker_module
from app.delivery.worker import Worker, set_backlog, set_ledger
from app.errors import Outcome, StoreUnavailable
from app.metrics import Metrics
from app.outbox.port import LEDGER_STATES, QUEUED, Account, Backlog
from tests.delivery.support import LEASE, NAME, SECOND, Setup, ids, until
from tests.factories import START

pytestmark = pytest.mark.anyio

GRACE = timedelta(seconds=5)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One number."""
    return metrics.registry.get_sample_value(name, labels)


def account(money: Mapping[str, Mapping[str, str]] | None = None, **deliveries: int) -> Account:
    """An account with zeros where nothing is said."""
    terms = (QUEUED, *LEDGER_STATES)
    return Account(
        {term: deliveries.get(term, 0) for term in terms},
        {
            currency: {term: Decimal(amounts.get(term, "0")) for term in terms}
            for currency, amounts in (money or {}).items()
        },
    )


def test_the_ledger_becomes_gauges() -> None:
    metrics = Metrics("0")
    ledger = {
        "meta": account(
            {"EUR": {"queued": "30.30", "delivered": "20.20", "pending": "10.10"}}, queued=3, delivered=2, pending=1
        ),
        "tiktok": account(),
    }
    set_ledger(metrics, ledger)
    assert value(metrics, "convey_ledger_queued_deliveries", destination="meta") == 3
    told = {
        state: value(metrics, "convey_ledger_deliveries", destination="meta", state=state) for state in LEDGER_STATES
    }
    assert told == {**dict.fromkeys(LEDGER_STATES, 0), "delivered": 2, "pending": 1}
    assert value(metrics, "convey_ledger_queued_money", destination="meta", currency="EUR") == 30.3
    money = {"destination": "meta", "currency": "EUR"}
    assert value(metrics, "convey_ledger_money", state="delivered", **money) == 20.2
    assert value(metrics, "convey_ledger_money", state="dead", **money) == 0
    assert value(metrics, "convey_ledger_queued_deliveries", destination="tiktok") == 0
    set_ledger(metrics, {"meta": account(queued=3, delivered=3)})
    assert value(metrics, "convey_ledger_deliveries", destination="meta", state="pending") == 0


@pytest.mark.parametrize(
    ("oldest", "age"),
    [(None, 0), (START, 0), (START - timedelta(hours=1), 3600), (START + timedelta(hours=1), 0)],
)
def test_the_backlog_becomes_gauges(oldest: Any, age: float) -> None:
    metrics = Metrics("0")
    set_backlog(metrics, {"meta": Backlog(2, 5, oldest)}, START)
    assert value(metrics, "convey_outbox_entries", destination="meta", state="ready") == 2
    assert value(metrics, "convey_outbox_entries", destination="meta", state="later") == 5
    assert value(metrics, "convey_outbox_oldest_age_seconds", destination="meta") == age


def worker_of(setup: Setup, *lanes: Any, limit_bytes: int = 0) -> Worker:
    """A worker over the store."""
    return Worker(lanes, setup.outbox, setup.board, setup.metrics, setup.clock.now, limit_bytes=limit_bytes)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gauges and sweeps that come often."""
    monkeypatch.setattr(worker_module, "GAUGE_PERIOD", timedelta(milliseconds=5))
    monkeypatch.setattr(worker_module, "SWEEP_PERIOD", timedelta(milliseconds=5))


async def test_measuring(setup: Setup) -> None:
    await setup.put(1, 2)
    setup.clock.advance(timedelta(minutes=3))
    worker = worker_of(setup, limit_bytes=1 << 30)
    await worker.measure()
    metrics = setup.metrics
    assert value(metrics, "convey_ledger_queued_deliveries", destination=NAME) == 2
    assert value(metrics, "convey_ledger_deliveries", destination=NAME, state="pending") == 2
    assert value(metrics, "convey_ledger_queued_money", destination=NAME, currency="USD") == pytest.approx(259.8)
    assert value(metrics, "convey_outbox_entries", destination=NAME, state="ready") == 2
    assert value(metrics, "convey_outbox_oldest_age_seconds", destination=NAME) == 180
    assert value(metrics, "convey_outbox_bytes") == setup.store.size_bytes() > 0
    assert value(metrics, "convey_outbox_limit_bytes") == 1 << 30


async def test_a_worker_delivers_measures_and_drains(setup: Setup) -> None:
    await setup.put(*range(3))
    worker = worker_of(setup, setup.lane())
    assert list(worker.lanes) == [NAME]
    running = asyncio.create_task(worker.run())
    gauge = {"destination": NAME, "state": "delivered"}
    await until(lambda: value(setup.metrics, "convey_ledger_deliveries", **gauge) == 3)
    await worker.drain(running, GRACE)
    assert running.done()
    assert running.exception() is None
    assert await setup.terms() == {"queued": 3, "delivered": 3}
    assert await setup.put(9)
    await worker.drain(running, GRACE)
    assert setup.platform.batches == [ids(0, 1, 2)]


async def test_a_parked_lane_keeps_its_age_in_the_gauges(setup: Setup) -> None:
    await setup.put(1)
    setup.platform.answer = lambda _: {"whole": "park"}
    lane = setup.lane()
    worker = worker_of(setup, lane)
    running = asyncio.create_task(worker.run())
    await until(lambda: lane.state == "parked")
    setup.clock.advance(20 * SECOND)
    await until(lambda: value(setup.metrics, "convey_outbox_oldest_age_seconds", destination=NAME) == 20)
    await worker.drain(running, GRACE)


async def test_draining_cuts_short_what_takes_longer_than_the_grace(setup: Setup) -> None:
    await setup.put(1)
    reached = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    lane = setup.lane()
    lane._sender = type(setup.sender)(httpx.MockTransport(hang))
    worker = worker_of(setup, lane)
    running = asyncio.create_task(worker.run())
    await reached.wait()
    await worker.drain(running, timedelta(milliseconds=10))
    assert running.done()
    back = (await setup.reclaimed())["purchase_1"]
    assert (back.attempts, back.unsure_since) == (0, None)
    await lane._sender.close()


async def test_a_lane_that_fails_fails_the_worker(setup: Setup) -> None:
    lane = setup.lane()

    class Broken:
        async def claim(self, *_: Any) -> Any:
            raise ZeroDivisionError

    lane._outbox = Broken()  # type: ignore[assignment]
    with pytest.raises(ExceptionGroup) as raised:
        await worker_of(setup, lane).run()
    assert raised.group_contains(ZeroDivisionError)


async def test_no_lane_waits_for_another(setup: Setup) -> None:
    await setup.put(1)
    stuck = setup.lane(name="stuck")

    class Stuck:
        async def claim(self, *_: Any) -> Any:
            await asyncio.Event().wait()

    stuck._outbox = Stuck()  # type: ignore[assignment]
    stuck._progressed = lambda name: None
    worker = worker_of(setup, stuck, setup.lane())
    running = asyncio.create_task(worker.run())
    await setup.settled(delivered=1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_store_that_is_away_only_stops_the_gauges(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    calls = {"ledger": 0, "sweep": 0}

    class Away:
        def __getattr__(self, name: str) -> Any:
            async def call(*args: Any) -> Any:
                if name in calls:
                    calls[name] += 1
                    if calls[name] == 1:
                        raise StoreUnavailable("away")
                return await getattr(setup.store, name)(*args)

            return getattr(setup.store, name) if name in {"size_bytes", "waiting"} else call

    caplog.set_level(logging.WARNING, "convey")
    setup.outbox = Away()
    await setup.put(1)
    worker = worker_of(setup)
    running = asyncio.create_task(worker.run())
    await until(lambda: value(setup.metrics, "convey_ledger_queued_deliveries", destination=NAME) == 1)
    await until(lambda: calls["sweep"] > 1)
    await worker.drain(running, GRACE)
    assert [record.getMessage() for record in caplog.records].count("worker.store_unavailable") == 2


async def test_what_was_settled_long_ago_is_swept(setup: Setup) -> None:
    await setup.put(1)
    worker = worker_of(setup, setup.lane())
    running = asyncio.create_task(worker.run())
    await setup.settled(delivered=1)
    setup.clock.advance(timedelta(days=30))

    async def forgotten() -> bool:
        return not await setup.store.event("purchase_1", "shop")

    await until(forgotten)
    await worker.drain(running, GRACE)
    assert await setup.terms() == {"queued": 1, "delivered": 1}
    assert (await setup.store.claim(NAME, 10, LEASE)) == ()
    assert Outcome.DELIVERED in LEDGER_STATES


@pytest.mark.parametrize("long", ["recount", "sweep"])
async def test_what_takes_long_does_not_hold_a_stop_up(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, long: str
) -> None:
    monkeypatch.setattr(worker_module, "CHECK_PERIOD", timedelta(milliseconds=5))
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(setup.outbox, long, endless)
    worker = worker_of(setup, setup.lane())
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        await begun.wait()
        await worker.drain(running, GRACE)
    assert running.exception() is None
