"""The Redis engine when a server is restarted or replaced: what was acknowledged is there afterwards, or named."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from app.dedup.port import IdKey, KeptContext
from app.errors import Outcome, Status, StoreUnavailable, StoreVanished
from app.model import Accepted
from app.outbox.port import Memo
from app.outbox.redis import RedisStore
from app.outbox.redis.accept import Item
from app.outbox.redis.memos import withdraw_again
from app.outbox.redis.recall import Recall
from app.outbox.redis.watch import FAILOVERS, run_of
from app.withdrawal import BOOK, encode_instant
from app.withdrawals import Withdrawals
from tests.factories import DESTINATIONS, START, FrozenClock, plan
from tests.outbox.sealing import OPEN_VAULT
from tests.outbox.support import (
    DAY,
    LEASE,
    Bounded,
    accept,
    assert_closed,
    claim_ids,
    counts,
    deliver_all,
    delivered,
    key_of,
    limit,
    settle,
)
from tests.redis_server import RedisCluster, RedisSentinel, RedisServer

WEAK: dict[str, Any] = {"durability": "declared", "destinations": DESTINATIONS}
"""A store that acknowledges what only one server has, as a managed one may."""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once the condition holds; a store that is away is none."""
    while True:
        try:
            if await condition():
                return
        except StoreUnavailable:
            pass
        await anyio.sleep(0.1)


async def says(store: RedisStore, words: str) -> bool:
    """Whether the store gives this as the reason why it is not ready; nothing, when it is."""
    try:
        await store.probe()
    except StoreUnavailable as error:
        return words != "" and words in str(error)
    return words == ""


async def has_queued(store: RedisStore, number: int) -> bool:
    """Whether the ledger has this many deliveries to Meta."""
    return (await counts(store)).get("queued") == number


async def failovers(store: RedisStore) -> list[dict]:
    """What the store has written down, the latest first."""
    return [json.loads(entry) for entry in await store._link.command("LRANGE", FAILOVERS, 0, -1)]


async def written_down(store: RedisStore) -> dict:
    """The one failover there was, once it is over."""
    entries: list[dict] = []

    async def is_there() -> bool:
        entries[:] = await failovers(store)
        return bool(entries)

    await until(is_there)
    return entries[0]


class TestRestart(Bounded):
    """One server that is killed and started again."""

    @pytest.fixture
    def own(self) -> Iterator[RedisServer]:
        """A server that may be ended."""
        server = RedisServer()
        server.start()
        yield server
        server.close()

    @limit(60)
    async def test_a_server_that_kept_everything_is_told_in_vain(self, own: RedisServer, clock: FrozenClock) -> None:
        store = await RedisStore.open(own.url, destinations=DESTINATIONS, now=clock.now)
        await store.accept([plan(f"ORD-{number}") for number in range(50)])
        await deliver_all(store, "meta")
        own.kill()
        own.start()
        told = await written_down(store)
        assert (told["offered"], told["restored"], told["at_risk"], told["settled"]) == (50, [], [], 0)
        assert await counts(store) == {"queued": 50, "delivered": 50}
        assert await counts(store, "tiktok") == {"queued": 50, "pending": 50}
        await store.close()

    @limit(60)
    async def test_a_server_that_forgot_everything_gets_back_what_was_new(
        self, own: RedisServer, clock: FrozenClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        own.command("CONFIG", "SET", "appendonly", "no")
        own.settings["appendonly"] = "no"
        store = await RedisStore.open(own.url, now=clock.now, **WEAK)
        minted = await store.mint(IdKey("shop", "Purchase", "ORD-2"), "evt-page", START + DAY)
        first = await store.accept([plan("ORD-1"), plan("ORD-2"), plan("ORD-3", asked="evt-3")])
        assert [each.event_id for each in first] == ["purchase_ORD-1", minted.event_id, "evt-3"]
        own.kill()
        for file in own.folder.iterdir():
            if file.is_dir():
                for part in file.iterdir():
                    part.unlink()
        own.start()
        while True:
            try:
                await store.probe()
            except StoreVanished:
                break
            except StoreUnavailable:
                await anyio.sleep(0.05)
        with caplog.at_level(logging.WARNING):
            told = await written_down(store)
        assert sorted(told["restored"]) == ["evt-3", "evt-page", "purchase_ORD-1"]
        (line,) = [vars(record)["fields"] for record in caplog.records if record.msg == "store.failover"]
        assert sorted(line["event_ids"]) == sorted(told["restored"])
        assert await counts(store) == {"queued": 3, "pending": 3}
        assert (await accept(store, plan("ORD-2"))).status is Status.DUPLICATE
        known = await store.read(IdKey("shop", "Purchase", "ORD-2"))
        assert known is not None
        assert known.event_id == "evt-page"
        await store.close()

    @limit(60)
    async def test_nothing_is_promised_while_a_server_that_took_over_is_too_weak(
        self, own: RedisServer, clock: FrozenClock
    ) -> None:
        store = await RedisStore.open(own.url, destinations=DESTINATIONS, now=clock.now)
        lenient = await RedisStore.open(own.url, destinations=DESTINATIONS, now=clock.now, allow_weak=True)
        await accept(store, plan("ORD-1", ("meta",)))
        own.kill()
        own.settings["maxmemory-policy"] = "allkeys-lru"
        own.start()
        await until(lambda: says(store, "maxmemory-policy is allkeys-lru"))
        for refused in (
            lambda: accept(store, plan("ORD-2")),
            lambda: store.mint(IdKey("shop", "Purchase", "ORD-2"), "evt-2", START + DAY),
            lambda: store.keep_contexts([KeptContext("shop", "ORD-2", b"{}", START + DAY)]),
            lambda: Withdrawals(store, b"secret").keep("shop", plan().event.identity, (), START),
        ):
            with pytest.raises(StoreUnavailable, match="maxmemory-policy"):
                await refused()
        assert (await accept(lenient, plan("ORD-3"))).status is Status.ACCEPTED
        await lenient.probe()
        await settle(store, delivered((await store.claim("meta", 1, LEASE))[0]))
        assert own.command("CONFIG", "SET", "maxmemory-policy", "noeviction") == "+OK"
        await until(lambda: says(store, ""))
        assert (await accept(store, plan("ORD-2"))).status is Status.ACCEPTED
        for each in (store, lenient):
            await each.close()

    @limit(60)
    @pytest.mark.parametrize("is_first", [True, False], ids=["accepting first", "delivering first"])
    async def test_what_was_delivered_before_a_flush_is_not_sent_again(
        self, own: RedisServer, clock: FrozenClock, is_first: bool
    ) -> None:
        """Whichever of the two begins the store anew, and although the events get other numbers in it."""
        accepting, delivering = [
            await RedisStore.open(own.url, destinations=DESTINATIONS, now=clock.now) for _ in range(2)
        ]
        await accepting.accept([plan(f"OLD-{number}", ("tiktok",)) for number in range(7)])
        await deliver_all(delivering, "tiktok")
        accepting._recall._told.clear()  # as if it were long ago: the numbers of what is restored begin anew
        await accepting.accept([plan(f"ORD-{number}", ("meta",)) for number in range(20)])
        under_way = await delivering.claim("meta", 5, LEASE)
        assert await settle(delivering, *map(delivered, await delivering.claim("meta", 10, LEASE))) == 10
        assert own.command("FLUSHALL") == "+OK"
        for store in (accepting, delivering) if is_first else (delivering, accepting):
            with pytest.raises(StoreVanished):
                await store.probe()
        assert await settle(delivering, *map(delivered, under_way)) == 0
        await until(lambda: has_queued(accepting, 20))
        sent = [*await delivering.claim("meta", 3, LEASE), *await delivering.claim("meta", 20, LEASE)]
        first = {each.event_id for each in sent}
        assert len(sent) == len(first) == 5
        assert not first & {each.event_id for each in under_way}
        assert await settle(delivering, *map(delivered, sent)) == 5
        assert await delivering.claim("meta", 20, LEASE) == []
        assert await counts(accepting) == {"queued": 20, "delivered": 20}
        await assert_closed(accepting)
        for store in (accepting, delivering):
            await store.close()

    @limit(60)
    async def test_what_was_released_or_cancelled_before_a_flush_is_so_again(
        self, own: RedisServer, clock: FrozenClock
    ) -> None:
        store = await RedisStore.open(own.url, destinations=DESTINATIONS, now=clock.now)
        names = ["HELD", "FREED", "SENT", "CANCELLED"]
        await store.accept([plan(name, ("meta",), held_until=START + DAY) for name in names])
        keys = {name: await key_of(store, f"purchase_{name}") for name in names}
        await store.release([keys["FREED"], keys["SENT"]])
        sent = [each for each in await store.claim("meta", 10, LEASE) if each.event_id == "purchase_SENT"]
        assert await settle(store, *map(delivered, sent)) == 1
        await store.cancel([keys["CANCELLED"]])
        own.command("FLUSHALL")
        with pytest.raises(StoreVanished):
            await store.probe()
        await written_down(store)
        assert await claim_ids(store) == ["purchase_FREED"]
        told = await counts(store)
        assert (told["withdrawn"], told["pending"], told["queued"]) == (1, 2, 4)
        assert (await store.event("purchase_HELD", "shop"))[0].destinations["meta"].held_until == START + DAY
        await store.close()

    @limit(60)
    async def test_a_flushed_store_takes_new_events_and_gets_the_latest_back(
        self, own: RedisServer, clock: FrozenClock
    ) -> None:
        store = await RedisStore.open(own.url, destinations=DESTINATIONS, now=clock.now)
        await accept(store, plan("ORD-1"))
        assert own.command("FLUSHALL") == "+OK"
        with pytest.raises(StoreUnavailable, match="vanished"):
            await accept(store, plan("ORD-2"))
        with pytest.raises(StoreUnavailable, match="vanished"):
            await store.probe()
        assert (await accept(store, plan("ORD-2"))).status is Status.ACCEPTED
        assert (await written_down(store))["restored"] == ["purchase_ORD-1"]
        assert await counts(store) == {"queued": 2, "pending": 2}
        await store.probe()
        await store.close()


class TestFailover(Bounded):
    """Replicas that take over without the last writes."""

    @limit(90)
    async def test_writes_a_sentinel_s_new_master_lacks_are_told_again(self, clock: FrozenClock) -> None:
        master = RedisServer()
        replica = RedisServer({"replicaof": f"127.0.0.1 {master.port}"})
        sentinel = RedisSentinel(master)
        try:
            for server in (master, replica, sentinel):
                server.start()
            await sentinel.until_known()
            store = await RedisStore.open(sentinel.url, now=clock.now, **WEAK)
            await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(20)])
            held = await store.claim("meta", 10, LEASE)
            while replica.command("DBSIZE") != master.command("DBSIZE"):
                await anyio.sleep(0.1)
            await self.cut_off(master, replica)
            await settle(store, *map(delivered, held[:5]))
            withdrawals = Withdrawals(store, b"secret")
            person = await withdrawals.keep("shop", plan().event.identity, (), START)
            assert person
            answers = await store.accept([plan(f"NEW-{number}", ("meta",)) for number in range(30)])
            assert {answer.status for answer in answers} == {Status.ACCEPTED}
            master.kill()
            replica.resume()
            written = await written_down(store)
            assert sorted(written["restored"]) == sorted(answer.event_id for answer in answers)
            assert (written["offered"], written["at_risk"], written["settled"]) == (50, [], 5)
            assert written["withdrawn"] >= person
            assert (await withdrawals.deny([plan()]))[0].deliveries == ()
            assert await counts(store) == {"queued": 50, "delivered": 5, "pending": 45}
            clock.advance(2 * LEASE)
            assert len(set(await claim_ids(store))) == 45
            await store.close()
        finally:
            for server in (sentinel, replica, master):
                server.close()

    @limit(90)
    async def test_a_replica_that_keeps_no_file_is_not_trusted(self, clock: FrozenClock) -> None:
        master = RedisServer()
        replica = RedisServer({"replicaof": f"127.0.0.1 {master.port}", "appendonly": "no"})
        sentinel = RedisSentinel(master)
        try:
            for server in (master, replica, sentinel):
                server.start()
            await sentinel.until_known()
            store = await RedisStore.open(sentinel.url, now=clock.now, destinations=DESTINATIONS)
            await accept(store, plan("ORD-1"))
            while replica.command("DBSIZE") != master.command("DBSIZE"):
                await anyio.sleep(0.1)
            master.kill()
            await until(lambda: says(store, "no append-only file"))
            with pytest.raises(StoreUnavailable, match="no append-only file"):
                await accept(store, plan("ORD-2"))
            assert replica.command("CONFIG", "SET", "appendfsync", "always") == "+OK"
            assert replica.command("CONFIG", "SET", "appendonly", "yes") == "+OK"
            await until(lambda: says(store, ""))
            assert (await accept(store, plan("ORD-2"))).status is Status.ACCEPTED
            await store.close()
        finally:
            for server in (sentinel, replica, master):
                server.close()

    async def cut_off(self, master: RedisServer, replica: RedisServer) -> None:
        """Stop the replica and its connection: what the master takes from now on is the master's alone."""
        replica.pause()
        assert master.command("CLIENT", "KILL", "TYPE", "replica").startswith(":")

    @limit(120)
    async def test_writes_a_cluster_s_new_master_lacks_are_told_again(self, clock: FrozenClock) -> None:
        cluster = RedisCluster(masters=3, replicas=1)
        try:
            cluster.start()
            store = await RedisStore.open(cluster.url, now=clock.now, partitions=8, **WEAK)
            await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(20)])
            master, (replica,) = cluster.servers[0], cluster.replicas
            await cluster.until_copied()
            await self.cut_off(master, replica)
            answers = await store.accept([plan(f"NEW-{number}", ("meta",)) for number in range(30)])
            assert {answer.status for answer in answers} == {Status.ACCEPTED}
            master.kill()
            replica.resume()
            written = await written_down(store)
            assert 0 < len(written["restored"]) <= 30
            assert not written["at_risk"]

            async def is_whole() -> bool:
                return await counts(store) == {"queued": 50, "pending": 50}

            await until(is_whole)
            assert {state.outcome for each in answers for state in await self.fates(store, each.event_id)} == {
                Outcome.QUEUED
            }
            assert len(set(await claim_ids(store))) == 50
            await store.close()
        finally:
            cluster.close()

    async def fates(self, store: RedisStore, event_id: str) -> list:
        """What became of an event's delivery."""
        return [event.destinations["meta"] for event in await store.event(event_id)]


class TestWithdrawals(Bounded):
    """Withdrawals that are told twice."""

    @limit(60)
    async def test_the_latest_withdrawal_stands(self, clock: FrozenClock) -> None:
        def memo(days: int) -> Memo:
            return Memo(BOOK, "person", encode_instant(START + days * DAY), START + 400 * DAY)

        server = RedisServer()
        server.start()
        try:
            store = await RedisStore.open(server.url, now=clock.now, **WEAK)
            await store.keep_memos([memo(2)])
            assert await withdraw_again(store._link, [memo(1)]) == 0
            assert await store.memos(BOOK, ["person"]) == {"person": memo(2).value}
            assert await withdraw_again(store._link, [memo(4), memo(3)]) == 1
            assert await store.memos(BOOK, ["person"]) == {"person": memo(4).value}
            await store.close()
        finally:
            server.close()


class TestRecall:
    """What a process keeps, and for how long."""

    @pytest.fixture
    def at(self) -> list[float]:
        """The instant, to be changed."""
        return [1000.0]

    def fill(self, recall: Recall, number: int, start: int = 0) -> None:
        """Keep so many events."""
        items = [Item.of(plan(f"ORD-{each}"), OPEN_VAULT) for each in range(start, start + number)]
        recall.accepted(items, [Accepted(f"purchase_{each}", Status.ACCEPTED, {}) for each in range(number)])

    def plans(self, recall: Recall) -> int:
        """How many would be told again."""
        plans, _, _ = recall.of({0}, 1)
        return len(plans)

    def test_what_is_old_goes_only_when_the_servers_were_seen(self, at: list[float]) -> None:
        recall = Recall(now=lambda: at[0])
        self.fill(recall, 10)
        at[0] += 3600
        self.fill(recall, 5, 10)
        assert self.plans(recall) == 15
        recall.same_servers()
        assert self.plans(recall) == 5
        at[0] += 29
        recall.same_servers()
        assert self.plans(recall) == 5

    def test_room_is_bounded_and_what_found_none_is_counted(self, at: list[float]) -> None:
        recall = Recall(now=lambda: at[0], max_bytes=12_000)
        for start in range(0, 50, 10):
            self.fill(recall, 10, start)
            at[0] += 1
        kept = self.plans(recall)
        assert 5 < kept < 20
        assert recall.unkept == 50 - kept
        at[0] += 40
        recall.same_servers()
        assert (self.plans(recall), recall.unkept) == (0, 0)


@pytest.mark.parametrize(
    ("told", "run"),
    [
        (b"# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\ntcp_port:6379\r\n", b"ab12"),
        ({"run_id": "ab12"}, b"ab12"),
        (b"# Server\r\nredis_version:7.0.15\r\n", b""),
        ({}, b""),
    ],
)
def test_a_run_id_that_is_hidden_is_no_change(told: object, run: bytes) -> None:
    """A managed service may show less than a server does."""
    assert run_of(told) == run
