"""What lanes of several workers share through the store's lane book: parked, open, eased, paused, rates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.delivery.board import Board, Budget, Presence
from app.delivery.flow import Flow
from app.delivery.lane import Lane
from app.delivery.pauses import Cap, Hold, Pauses
from app.destinations.base import Rate
from app.errors import StoreUnavailable
from tests.delivery.support import NAME, SECOND, Answer, Setup, config, ids, until
from tests.factories import START

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@contextlib.asynccontextmanager
async def two(setup: Setup, **over: Any) -> AsyncIterator[tuple[Lane, Lane]]:
    """The same lane in two workers of one store."""
    boards = [Board(setup.store, setup.clock.now) for _ in range(2)]
    lanes = [setup.lane(board, **{**over, "credential": over.get("credential", "aaaa")}) for board in boards]
    async with setup.running(lanes[0]), setup.running(lanes[1]):
        yield lanes[0], lanes[1]


async def write(setup: Setup, name: str, value: msgspec.Struct) -> None:
    """Put a note into the book as another process would."""
    notes = await setup.store.notes()
    version = notes[name].version if name in notes else 0
    assert await setup.store.note(name, msgspec.json.encode(value), version) is not None


async def flow(setup: Setup) -> Flow:
    """The lane's record."""
    notes = await setup.store.notes()
    return msgspec.json.decode(notes[f"flow/{NAME}"].value, type=Flow) if f"flow/{NAME}" in notes else Flow()


# --- parked and open


async def test_a_dead_token_parks_the_lane_of_every_worker(setup: Setup) -> None:
    setup.platform.answer = lambda _: {"whole": "park"}
    await setup.put(1)
    async with two(setup) as lanes:
        await until(lambda: [lane.state for lane in lanes] == ["parked", "parked"])
        assert [lane.detail for lane in lanes] == ["code 190", "code 190"]
        await setup.put(2, 3)
        progress = setup.progress
        await until(lambda: setup.progress > progress + 20)
        assert len(setup.platform.batches) <= 2, "each was told at most once, and nobody asks before it is time"


async def test_one_worker_asks_for_all_and_all_go_on(setup: Setup) -> None:
    go_on = asyncio.Event()

    async def answer(_: list[str]) -> Answer:
        if setup.clock.now() == START:
            return {"whole": "park"}
        await go_on.wait()
        return {}

    setup.platform.answer = answer
    await setup.put(*range(9))
    async with two(setup) as lanes:
        await until(lambda: [lane.state for lane in lanes] == ["parked", "parked"])
        progress = setup.progress
        await until(lambda: setup.progress > progress + 30)  # a claim that was under way may still be sent
        await until(lambda: not any(lane.in_flight for lane in lanes))
        asked = len(setup.platform.batches)
        setup.clock.advance(timedelta(minutes=6))
        await until(lambda: setup.platform.under_way == 1)
        progress = setup.progress
        await until(lambda: setup.progress > progress + 20)
        assert [len(batch) for batch in setup.platform.batches[asked:]] == [1], "one event, from one worker"
        go_on.set()
        await setup.settled(delivered=9)
        await until(lambda: [lane.state for lane in lanes] == ["running", "running"])
    assert (await flow(setup)).state == "running"


async def test_a_worker_with_another_secret_is_not_parked(setup: Setup) -> None:
    await write(setup, f"flow/{NAME}", Flow("parked", START, START + MINUTE, 1, "code 190", "old"))
    await setup.put(1)
    async with setup.running(credential="new") as lane:
        await setup.settled(delivered=1)
        assert lane.state == "running"


async def test_a_new_secret_resumes_the_lane_for_all_who_have_it(setup: Setup) -> None:
    setup.platform.answer = lambda _: {"whole": "park"}
    await setup.put(1)
    async with two(setup) as (one, other):
        await until(lambda: [one.state, other.state] == ["parked", "parked"])
        setup.platform.answer = lambda _: {}
        one.reconfigure(config(credential="bbbb"))
        other.reconfigure(config(credential="bbbb"))
        await setup.settled(delivered=1)
        await until(lambda: [one.state, other.state] == ["running", "running"])


async def test_a_parked_lane_stays_parked_over_a_restart(setup: Setup) -> None:
    setup.platform.answer = lambda _: {"whole": "park"}
    await setup.put(1)
    async with setup.running(credential="aaaa") as lane:
        await until(lambda: lane.state == "parked")
        await until(lambda: not lane._is_untold)
    asked = len(setup.platform.batches)
    async with setup.running(setup.lane(Board(setup.store, setup.clock.now), credential="aaaa")) as again:
        assert again.state == "parked"
        progress = setup.progress
        await until(lambda: setup.progress > progress + 5)
        assert len(setup.platform.batches) == asked


async def test_an_open_breaker_closes_every_worker_and_one_probes(setup: Setup) -> None:
    setup.platform.answer = lambda _: {"all": "later"}
    await setup.put(*range(20))
    async with two(setup) as lanes:

        async def are_open() -> bool:
            setup.clock.advance(SECOND)
            return [lane.state for lane in lanes] == ["open", "open"]

        await until(are_open)
        setup.platform.answer = lambda _: {}

        async def is_delivered() -> bool:
            setup.clock.advance(SECOND)
            return (await setup.terms()) == {"queued": 20, "delivered": 20}

        await until(is_delivered)
        await until(lambda: [lane.state for lane in lanes] == ["running", "running"])


async def test_a_platform_that_asks_to_slow_down_is_heard_by_all(setup: Setup) -> None:
    setup.platform.answer = lambda _: {"all": "limited"}
    await setup.put(1)
    async with two(setup, max_in_flight=4) as lanes:
        await until(lambda: [lane._pace.width for lane in lanes] == [2, 2])
        assert [lane.state for lane in lanes] == ["running", "running"]
        assert all((lane._pace.held_until or START) >= START + 2 * MINUTE for lane in lanes)
        assert (await flow(setup)).eased == 1


# --- what people hold back


async def test_a_paused_lane_sends_nothing_and_goes_on_when_it_is_lifted(setup: Setup) -> None:
    await write(setup, f"pause/{NAME}", Pauses(Hold(START, None, "incident 7")))
    await setup.put(1)
    async with two(setup) as lanes:
        await until(lambda: setup.progress > 10)
        assert [lane.state for lane in lanes] == ["paused", "paused"]
        labels = {"destination": NAME, "state": "paused"}
        assert setup.metrics.registry.get_sample_value("convey_lane_state", labels) == 1
        assert setup.platform.batches == []
        assert (await setup.store.backlog())[NAME].ready == 1
        await write(setup, f"pause/{NAME}", Pauses())
        await setup.settled(delivered=1)


async def test_a_pause_ends_by_itself(setup: Setup) -> None:
    await write(setup, f"pause/{NAME}", Pauses(Hold(START, START + MINUTE)))
    await setup.put(1)
    async with setup.running() as lane:
        await until(lambda: setup.progress > 5)
        assert (lane.state, setup.platform.batches) == ("paused", [])
        setup.clock.advance(MINUTE)
        await setup.settled(delivered=1)


async def test_a_paused_name_waits_and_the_others_go(setup: Setup) -> None:
    await write(setup, f"pause/{NAME}", Pauses(names={"PageView": Hold(START)}))
    await setup.put(1, 2, event_name="PageView")
    await setup.put(3, 4)
    async with setup.running() as lane:
        await setup.settled(delivered=2, pending=2)
        assert lane.state == "running"
        assert setup.platform.batches == [ids(3, 4)]
        await write(setup, f"pause/{NAME}", Pauses())
        await setup.settled(delivered=4)


async def test_a_rate_cap_holds_over_all_workers(setup: Setup) -> None:
    await write(setup, f"pause/{NAME}", Pauses(cap=Cap(START, rate_per_minute=60)))
    await setup.put(*range(40))
    async with two(setup):
        await setup.settled(delivered=6, pending=34)
        progress = setup.progress
        await until(lambda: setup.progress > progress + 10)
        assert len(setup.platform.asked) == 6, "a tenth at once"
        setup.clock.advance(5 * SECOND)
        await until(lambda: len(setup.platform.asked) >= 10)
        progress = setup.progress
        await until(lambda: setup.progress > progress + 10)
        assert len(setup.platform.asked) <= 12
        await write(setup, f"pause/{NAME}", Pauses())
        await setup.settled(delivered=40)


# --- rate limits


async def test_a_rate_limit_holds_over_all_workers(setup: Setup) -> None:
    await setup.put(*range(60))
    async with two(setup, rates=(Rate(100, MINUTE),), budget="project", max_items=2, max_in_flight=2):
        await until(lambda: len(setup.platform.batches) == 10)
        progress = setup.progress
        await until(lambda: setup.progress > progress + 10)
        assert len(setup.platform.batches) == 10
        setup.clock.advance(3 * SECOND)
        await until(lambda: len(setup.platform.batches) == 14)
        setup.clock.advance(MINUTE)

        async def is_delivered() -> bool:
            setup.clock.advance(SECOND)
            return (await setup.terms()) == {"queued": 60, "delivered": 60}

        await until(is_delivered)


async def test_every_request_of_a_batch_counts(setup: Setup) -> None:
    """A batch that is taken apart waits for its turn, and its leases are kept."""
    setup.platform.answer = lambda batch: {"whole": "split"} if len(batch) > 1 else {}
    await setup.put(*range(4))
    async with setup.running(rates=(Rate(40, MINUTE),), budget="project"):
        await until(lambda: len(setup.platform.batches) == 4)
        for _ in range(6):
            setup.clock.advance(10 * SECOND)
            await asyncio.sleep(0.03)
        await setup.settled(delivered=4)
    assert sorted(setup.platform.sizes) == [1, 1, 1, 1, 2, 2, 4]
    assert {(await setup.state(event_id)).attempts for event_id in ids(0, 1, 2, 3)} == {1}


async def test_a_lane_that_is_cut_short_while_it_waits_for_its_turn_puts_everything_back(setup: Setup) -> None:
    setup.platform.answer = lambda batch: {"whole": "split"} if len(batch) > 1 else {}
    await setup.put(*range(4))
    async with setup.running(rates=(Rate(20, MINUTE),), budget="project") as lane:
        await until(lambda: len(setup.platform.batches) == 2)
        lane.abandon()
    assert len(await setup.reclaimed()) == 4


# --- the board itself


async def test_two_who_change_one_note_both_count(setup: Setup) -> None:
    boards = [Board(setup.store, setup.clock.now) for _ in range(4)]
    budgets = [Budget(board, "rate/x", [Rate(1000, MINUTE)], setup.clock.now) for board in boards]
    told = await asyncio.gather(*(budget.permit() for budget in budgets * 30))
    assert told.count(None) == 100, "a tenth of the window and not one more"
    assert all(wait is None or wait > timedelta(0) for wait in told)


async def test_what_a_newer_version_wrote_is_not_read(setup: Setup) -> None:
    await setup.store.note(f"flow/{NAME}", b'{"state": 7}', 0)
    await setup.store.note(f"pause/{NAME}", b"\xff", 0)
    await setup.put(1)
    async with setup.running():
        await setup.settled(delivered=1)


async def test_a_worker_shows_what_it_has_under_way(setup: Setup) -> None:
    go_on = asyncio.Event()

    async def wait(_: list[str]) -> Answer:
        await go_on.wait()
        return {}

    async def present() -> dict[str, int]:
        note = (await setup.store.notes()).get(f"worker/{setup.board.worker}")
        return {} if note is None else msgspec.json.decode(note.value, type=Presence).in_flight

    async def shows_three() -> bool:
        return await present() == {NAME: 3}

    setup.platform.answer = wait
    await setup.put(1, 2, 3)
    async with setup.running():
        await until(shows_three)
        go_on.set()
        await setup.settled(delivered=3)
    await setup.board.leave()
    assert f"worker/{setup.board.worker}" not in await setup.store.notes()


async def test_a_store_that_is_away_only_delays_what_is_to_be_told(setup: Setup) -> None:
    class Away:
        is_away = True

        async def notes(self) -> Any:
            if self.is_away:
                raise StoreUnavailable("away")
            return await setup.store.notes()

        async def note(self, *args: Any) -> Any:
            if self.is_away:
                raise StoreUnavailable("away")
            return await setup.store.note(*args)

    away = Away()
    board = Board(away, setup.clock.now)
    lane = setup.lane(board, credential="aaaa")
    setup.platform.answer = lambda _: {"whole": "park"}
    await setup.put(1)
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(lane.run()), asyncio.create_task(board.run(stopping))]
    await until(lambda: lane.state == "parked")
    away.is_away = False

    async def is_told() -> bool:
        return (await flow(setup)).state == "parked"

    await until(is_told)
    lane.stop()
    stopping.set()
    await asyncio.gather(*tasks)
