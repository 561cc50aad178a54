"""The Redis engine: the contract, the model, and what only a server can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import anyio
import msgspec
import pytest

from app.dedup.port import IdKey
from app.errors import Status, StoreFull, StoreMismatch, StoreUnavailable
from app.outbox.port import DeadFilter
from app.outbox.recount import Recount
from app.outbox.redis import RedisStore
from app.outbox.redis.accept import LATE, NEW, TENTATIVE, Item, Reserved, acceptance, reservation
from app.outbox.redis.link import META
from app.outbox.redis.lookout import FEW
from app.outbox.room import Bound, Limits
from tests.factories import DESTINATIONS, FrozenClock, plan
from tests.outbox.contract import StoreContract
from tests.outbox.contract_choice import Choosing
from tests.outbox.contract_room import Filling
from tests.outbox.model_based import store_machine
from tests.outbox.redis_harness import RedisHarness, WipedRedis
from tests.outbox.sealing import OPEN_VAULT
from tests.outbox.support import (
    DAY,
    HOUR,
    LEASE,
    LIMIT_S,
    SECOND,
    BodyCount,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    claim_ids,
    counts,
    dead,
    deliver_all,
    delivered,
    settle,
    together,
)
from tests.redis_server import (
    HOW_TO_GET_IT,
    RedisServer,
    find_binary,
    is_optional,
    shared_server,
)


@pytest.fixture(scope="session")
def server() -> RedisServer:
    """The server of this test process."""
    return shared_server()


@pytest.fixture
async def harness(
    request: pytest.FixtureRequest, server: RedisServer, clock: FrozenClock
) -> AsyncIterator[RedisHarness]:
    """An empty server, and an engine that is closed in the end."""
    harness = RedisHarness(server, clock, **getattr(request.cls, "options", {}))
    harness.wipe()
    yield harness
    with anyio.fail_after(LIMIT_S):
        await harness.close()


@pytest.fixture
async def store(harness: RedisHarness) -> Engine:
    """The engine under test."""
    return await harness.open()


@pytest.fixture
def reopen(harness: RedisHarness) -> Reopen:
    """A crash or a close, and the engine that comes after."""
    return harness.reopen


class TestRedisContract(StoreContract, Filling):
    """The promises every engine keeps, over several partitions; the model has one."""

    voids_leases_on_open = False
    options = MappingProxyType({"partitions": 5})

    @pytest.fixture
    def body_count(self, harness: RedisHarness) -> BodyCount:
        """Counted on the server."""
        return harness.body_count


class TestOnePartition(Choosing):
    """Shares of a claim where everything lies in one partition, which is asked in another way."""

    options = MappingProxyType({"partitions": 1})


class TestRedisServer(Bounded):
    """The server: what it forgets, what it refuses, and who shares it."""

    async def test_scripts_it_forgot_are_loaded_again(
        self, harness: RedisHarness, store: Engine, server: RedisServer
    ) -> None:
        for number in range(3):
            assert server.command("SCRIPT", "FLUSH") == "+OK"
            assert (await accept(store, plan(f"ORD-{number}", ("meta",)))).status is Status.ACCEPTED
            server.command("SCRIPT", "FLUSH")
            delivery = await claim(store)
            server.command("SCRIPT", "FLUSH")
            assert await settle(store, delivered(delivery)) == 1
        server.command("SCRIPT", "FLUSH")
        assert await counts(store) == {"queued": 3, "delivered": 3}

    async def test_two_stores_never_hold_one_delivery(self, harness: RedisHarness, clock: FrozenClock) -> None:
        first = await harness.open()
        second = RedisHarness(harness.server, clock)
        other = await second.open()
        await first.accept([plan(f"ORD-{number}") for number in range(200)])
        batches = await together(*[partial(each.claim, "meta", 13, LEASE) for each in (first, other) * 9])
        claimed = [delivery.event_id for batch in batches for delivery in batch]
        assert len(claimed) == len(set(claimed)) == 200
        held = [delivery for batch in batches for delivery in batch]
        done = await together(*[partial(settle, each, delivered(held[0])) for each in (first, other)])
        assert sum(done) == 1
        await second.close()

    async def test_another_process_s_work_ends_a_wait(self, harness: RedisHarness, clock: FrozenClock) -> None:
        first = await harness.open()
        second = RedisHarness(harness.server, clock)
        other = await second.open()
        async with anyio.create_task_group() as group:
            group.start_soon(first.wait, "meta", HOUR)
            await anyio.sleep(0.05)
            await accept(other, plan())
        await claim(first)
        await second.close()

    async def test_one_look_answers_for_all_lanes_that_wait(
        self, harness: RedisHarness, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        harness.wipe()
        store = await RedisStore.open(harness.server.url, destinations=DESTINATIONS, now=clock.now, partitions=FEW + 1)
        second = RedisHarness(harness.server, clock)
        other = await second.open()
        everywhere: Any = store._link.everywhere
        looks: list[list[str]] = []

        async def seen(script: str, value: Any, **options: Any) -> Any:
            if script == "next":
                looks.append([destination for destination, _ in value])
            return await everywhere(script, value, **options)

        monkeypatch.setattr(store._link, "everywhere", seen)
        async with anyio.create_task_group() as group:
            for name in DESTINATIONS:
                group.start_soon(store.wait, name, HOUR)
            while len(looks) < 2:
                await anyio.sleep(0.01)
            await accept(other, plan("ORD-1", DESTINATIONS))
        assert len(DESTINATIONS) > 1
        assert {tuple(look) for look in looks} == {tuple(sorted(DESTINATIONS))}
        monkeypatch.undo()
        await claim(store)
        await store.close()
        await second.close()

    async def test_opening_leaves_the_leases_of_others(self, harness: RedisHarness, clock: FrozenClock) -> None:
        store = await harness.open()
        await accept(store, plan())
        before = await claim(store)
        store = await harness.reopen()
        assert await claim_ids(store) == []
        assert await settle(store, dead(before)) == 1
        assert await counts(store) == {"queued": 1, "dead": 1}

    async def test_vanished_data_is_noticed_and_begun_anew(
        self, harness: RedisHarness, store: Engine, server: RedisServer
    ) -> None:
        await accept(store, plan())
        harness.wipe()
        with pytest.raises(StoreUnavailable, match="vanished"):
            await accept(store, plan("ORD-2"))
        with pytest.raises(StoreUnavailable, match="vanished"):
            await store.probe()
        await store.probe()
        assert (await accept(store, plan())).status is Status.ACCEPTED
        assert (await claim(store)).event == plan().event
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_an_empty_server_is_noticed_by_the_probe_alone(self, harness: RedisHarness, store: Engine) -> None:
        harness.wipe()
        with pytest.raises(StoreUnavailable):
            await store.probe()
        await store.probe()

    async def test_a_newer_schema_is_refused_and_left_alone(self, harness: RedisHarness, server: RedisServer) -> None:
        await accept(await harness.open(), plan())
        await harness.close()
        server.command("HSET", META, "schema", "1000")
        with pytest.raises(StoreMismatch, match="1000"):
            await harness.open()
        server.command("HSET", META, "schema", "1")
        assert await counts(await harness.open()) == {"queued": 1, "pending": 1}

    async def test_the_number_of_partitions_is_fixed(self, harness: RedisHarness) -> None:
        await accept(await harness.open(partitions=3), plan())
        await harness.close()
        with pytest.raises(StoreMismatch, match="3 partitions"):
            await harness.open(partitions=4)
        assert await counts(await harness.open()) == {"queued": 1, "pending": 1}

    async def test_work_of_a_destination_that_is_gone_is_told_and_kept(self, harness: RedisHarness) -> None:
        await accept(await harness.open(), plan(destinations=("meta", "tiktok")))
        await harness.close()
        store = await harness.open(destinations=("meta", "snapchat"))
        assert dict(await store.unroutable(["meta", "snapchat"])) == {"tiktok": 1}
        assert set(await store.ledger()) >= {"meta", "tiktok", "snapchat"}

    async def test_the_server_s_own_clock(self, harness: RedisHarness) -> None:
        store = await RedisStore.open(harness.server.url, destinations=DESTINATIONS)
        now = datetime.now(UTC)
        await accept(store, plan(accepted_at=now))
        (delivery,) = await store.claim("meta", 1, LEASE)
        assert delivery.claimed_until is not None
        assert abs(delivery.claimed_until - now - LEASE) < timedelta(seconds=5)
        assert list(await store.claim("meta", 1, LEASE)) == []
        await store.wait("tiktok", HOUR)
        await store.close()
        with pytest.raises(StoreUnavailable):
            await accept(store, plan("ORD-2"))


class TestRedisRegistry(Bounded):
    """Reservations that an accept left behind, and events that fell between."""

    async def reserve(self, store: Engine, asked: str, transaction: str = "ORD-1") -> None:
        """Do what an accept does that dies before it queues its event."""
        assert isinstance(store, RedisStore)
        link = store._link
        item = Item.of(plan(transaction, asked=asked), OPEN_VAULT)
        assert len(await link.scatter("reserve", [reservation(item, link.partitions)], msgspec.msgpack.decode)) == 1

    async def test_the_same_post_goes_on_where_the_first_died(self, store: Engine) -> None:
        await self.reserve(store, "evt-1")
        assert (await accept(store, plan(asked="evt-1"))).status is Status.ACCEPTED
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_another_id_has_to_wait_until_the_first_is_surely_dead(
        self, store: Engine, clock: FrozenClock
    ) -> None:
        await self.reserve(store, "evt-1")
        assert (await accept(store, plan(asked="evt-2"))).status is Status.CONFLICT
        clock.advance(timedelta(seconds=61))
        assert (await accept(store, plan(asked="evt-2", accepted_at=clock.now()))).status is Status.ACCEPTED
        assert (await accept(store, plan(asked="evt-1", accepted_at=clock.now()))).status is Status.CONFLICT
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_a_reservation_that_was_held_too_long_queues_nothing(self, store: Engine, clock: FrozenClock) -> None:
        assert isinstance(store, RedisStore)
        item = Item.of(plan(asked="evt-1"), OPEN_VAULT)
        item.reserved = Reserved(NEW, "evt-1", 0, 0, TENTATIVE, int(clock.now().timestamp()))
        clock.advance(timedelta(seconds=31))
        asked = acceptance(item, store._link.partitions, timedelta(days=730))
        (answer,) = await store._link.scatter("accept", [asked], lambda reply: reply)
        assert answer == [LATE, [], []]
        assert await counts(store) == {}

    async def test_a_reservation_of_another_transaction_s_id_is_given_back(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", asked="evt-1"))
        await self.reserve(store, "evt-1", "ORD-2")
        assert (await accept(store, plan("ORD-2"))).event_id == "purchase_ORD-2"
        await self.reserve(store, "evt-1", "ORD-3")
        assert (await accept(store, plan("ORD-3", asked="evt-3"))).status is Status.ACCEPTED
        assert (await accept(store, plan("ORD-4", asked="evt-1"))).status is Status.CONFLICT
        assert (await accept(store, plan("ORD-4"))).status is Status.ACCEPTED

    async def test_a_conflict_in_one_call_leaves_its_neighbour_alone(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", asked="evt-1"))
        answers = await store.accept([plan("ORD-2", asked="evt-1"), plan("ORD-2"), plan("ORD-2", asked="evt-9")])
        assert [answer.status for answer in answers] == [Status.CONFLICT, Status.ACCEPTED, Status.CONFLICT]
        assert await counts(store) == {"queued": 2, "pending": 2}

    async def test_a_pending_event_keeps_its_id_past_the_window(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(asked="evt-1"))
        clock.advance(5 * DAY)
        again = await accept(store, plan(accepted_at=clock.now()))
        assert (again.event_id, again.status) == ("evt-1", Status.DUPLICATE)
        known = await store.read(IdKey("shop", "Purchase", "ORD-1"))
        assert known is not None
        assert known.event_id == "evt-1"

    async def test_what_has_to_stay_holds_up_no_sweep(
        self, harness: RedisHarness, store: Engine, clock: FrozenClock
    ) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(40)])
        held = await store.claim("meta", 40, HOUR)
        await settle(store, *map(dead, held))
        for start in (100, 200, 300):
            await store.accept(
                [plan(f"ORD-{start + number}", ("meta",), accepted_at=clock.now()) for number in range(50)]
            )
            await deliver_all(store, "meta")
            clock.advance(8 * DAY)
            assert await store.sweep() >= 50
            assert len(await harness.keys_of("e")) == 40
        page = await store.dead_letters(DeadFilter(), 100)
        assert await store.purge(page.letters) == 40
        clock.advance(HOUR)
        await store.sweep()
        assert await harness.keys_of("e", "b", "l") == []

    async def test_a_settlement_of_a_lost_event_does_not_end_the_one_of_its_number(
        self, harness: RedisHarness, store: Engine
    ) -> None:
        await accept(store, plan("ORD-1", ("meta",)))
        lost = await claim(store)
        harness.wipe()
        with pytest.raises(StoreUnavailable):
            await store.probe()
        await accept(store, plan("ORD-2", ("meta",)))
        assert await settle(store, delivered(lost)) == 0
        claimed = {delivery.event_id: delivery for delivery in await store.claim("meta", 10, LEASE)}
        found = claimed["purchase_ORD-2"]
        assert (found.key.seq, found.event) == (lost.key.seq, plan("ORD-2", ("meta",)).event)

    async def test_the_registry_empties(self, harness: RedisHarness, store: Engine, clock: FrozenClock) -> None:
        await store.mint(IdKey("shop", "Purchase", "ORD-never"), "evt-never", clock.now() + DAY)
        await store.mint(IdKey("shop", "Purchase", "ORD-0"), "evt-0", clock.now() + DAY)
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(50)])
        await deliver_all(store, "meta")
        for _ in range(3):
            clock.advance(8 * DAY)
            for _ in range(9):
                await store.sweep()
        assert await harness.keys_beside("n", "o", "k:meta") == []
        assert await counts(store) == {"queued": 50, "delivered": 50}


TestRedisModel = store_machine(WipedRedis).TestCase
if find_binary() is None and is_optional():
    TestRedisModel = pytest.mark.skip(reason=HOW_TO_GET_IT)(TestRedisModel)


class TestRedisRoom(Bounded):
    """Limits that several processes hold to."""

    async def test_what_others_accept_is_noticed_soon(
        self, harness: RedisHarness, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.outbox.redis.room.LOOK_S", 0.02)
        limits = Limits(None, {"meta": Bound(deliveries=5)})
        first = await harness.open(limits=limits)
        second = await RedisStore.open(harness.server.url, destinations=DESTINATIONS, now=clock.now, limits=limits)
        try:
            for number in range(5):
                await accept(second, plan(f"ORD-{number}", ("meta",)))
            with pytest.raises(StoreFull) as caught:
                while True:
                    await accept(first, plan("ORD-0", ("meta",)))
                    await accept(first, plan(f"MORE-{clock.advance(SECOND)}", ("meta",)))
            assert caught.value.limit == "destinations.meta.max_waiting"
            assert (await accept(first, plan("ORD-0", ("meta",)))).status is Status.DUPLICATE
            await deliver_all(first, "meta")
            while isinstance((await together(partial(accept, second, plan("LAST", ("meta",)))))[0], StoreFull):
                await anyio.sleep(0.01)
        finally:
            await second.close()


class TestRedisRecount(Bounded):
    """A self-check that holds no server up."""

    async def test_where_too_much_lies_only_the_number_is_compared(
        self, harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.outbox.redis.recount.READ_AT_ONCE", 1)
        store = await harness.open(partitions=1)
        await store.accept([plan(f"ORD-{number}", ("meta",), money=("EUR", "1")) for number in range(3)])
        await accept(store, plan("ORD-9", ("tiktok",), money=("EUR", "1")))
        assert await store.recount() == Recount(4, (), 3)
        await harness.miscount("meta", "pending", "EUR", deliveries=1, units=7)
        await harness.miscount("tiktok", "pending", "EUR", deliveries=0, units=7)
        found = [(each.destination, each.currency) for each in (await store.recount()).differences]
        assert found == [("meta", None), ("tiktok", "EUR")]
