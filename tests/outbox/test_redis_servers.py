"""The Redis engine and its servers: killed, full, hanging, set up too weakly, in a cluster, behind a sentinel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import anyio
import pytest
from redis.exceptions import ResponseError

from app.dedup.port import IdKey
from app.errors import Status, StoreFull, StoreMismatch, StoreUnavailable
from app.outbox.address import parse_url
from app.outbox.port import DeadFilter
from app.outbox.redis import RedisStore, boot
from tests.factories import DESTINATIONS, START, FrozenClock, noise, plan
from tests.outbox.redis_harness import RedisHarness
from tests.outbox.support import (
    DAY,
    LEASE,
    Bounded,
    Engine,
    accept,
    claim,
    counts,
    dead,
    dead_letters,
    deliver_all,
    delivered,
    limit,
    replay,
    settle,
)
from tests.redis_server import RedisCluster, RedisSentinel, RedisServer, free_port


class TestRedisFailures(Bounded):
    """A server of the test's own that is killed, filled, or set up too weakly."""

    @pytest.fixture
    def own(self) -> Iterator[RedisServer]:
        """A server that may be ended."""
        server = RedisServer()
        server.start()
        yield server
        server.close()

    @limit(60)
    async def test_nothing_answered_is_lost_when_the_server_is_killed(
        self, own: RedisServer, clock: FrozenClock
    ) -> None:
        harness = RedisHarness(own, clock)
        store = await harness.open()
        answered: set[str] = set()

        async def post(worker: int) -> None:
            for number in range(10_000):
                try:
                    answered.add((await accept(store, plan(f"ORD-{worker}-{number}"))).event_id)
                except StoreUnavailable:
                    return

        async with anyio.create_task_group() as group:
            for worker in range(8):
                group.start_soon(post, worker)
            while len(answered) < 200:
                await anyio.sleep(0.01)
            own.kill()
        with pytest.raises(StoreUnavailable):
            await store.probe()
        own.start()
        await store.probe()
        kept = await store.claim("meta", 10_000, LEASE)
        assert answered <= {delivery.event_id for delivery in kept}
        assert await settle(store, *map(delivered, kept)) == len(kept)
        again = await accept(store, plan("ORD-0-0"))
        assert again.status is Status.DUPLICATE
        assert await counts(store) == {"queued": len(kept), "delivered": len(kept)}
        await harness.close()

    @limit(60)
    async def test_a_full_server_says_so_delivers_and_takes_again(self, own: RedisServer, clock: FrozenClock) -> None:
        harness = RedisHarness(own, clock)
        store = await harness.open()
        own.command("CONFIG", "SET", "maxmemory", "6mb")
        taken = 0
        with pytest.raises(StoreFull):
            for number in range(1000):
                await accept(store, plan(f"ORD-{number}", ("meta",), properties={"note": noise(20_000)}))
                taken += 1
        assert taken > 10
        assert await counts(store) == {"queued": taken, "pending": taken}
        await deliver_all(store, "meta")
        assert await counts(store) == {"queued": taken, "delivered": taken}
        await store.probe()
        assert (await accept(store, plan("NEW-1", ("meta",)))).status is Status.ACCEPTED
        await settle(store, delivered(await claim(store)))
        await harness.close()

    async def test_a_server_that_is_not_there(self, clock: FrozenClock) -> None:
        with pytest.raises(StoreUnavailable):
            await RedisStore.open(f"redis://127.0.0.1:{free_port()}/0", destinations=["meta"])

    async def test_a_server_that_hangs_is_unavailable_in_time(self, own: RedisServer, clock: FrozenClock) -> None:
        harness = RedisHarness(own, clock, answer_within=timedelta(seconds=0.5))
        store = await harness.open()
        own.pause()
        with anyio.fail_after(5), pytest.raises(StoreUnavailable):
            await accept(store, plan())
        own.resume()
        assert (await accept(store, plan())).event_id == "purchase_ORD-1"
        assert await counts(store) == {"queued": 1, "pending": 1}
        await harness.close()

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("maxmemory-policy", "allkeys-lru", "allkeys-lru"),
            ("appendonly", "no", "append-only file"),
            ("appendfsync", "no", "appendfsync"),
        ],
    )
    async def test_weak_settings_are_refused_unless_allowed(
        self, own: RedisServer, clock: FrozenClock, name: str, value: str, words: str
    ) -> None:
        own.command("CONFIG", "SET", name, value)
        harness = RedisHarness(own, clock)
        with pytest.raises(StoreMismatch, match=words):
            await harness.open()
        await harness.open(allow_weak=True)
        await harness.close()

    async def test_without_a_promise_of_fsync_the_append_only_file_is_not_asked_for(
        self, own: RedisServer, clock: FrozenClock
    ) -> None:
        own.command("CONFIG", "SET", "appendonly", "no")
        harness = RedisHarness(own, clock)
        for durability in ("declared", "memory"):
            await accept(await harness.open(durability=durability), plan())
            await harness.close()

    @limit(60)
    async def test_replicated_waits_for_a_replica(self, own: RedisServer, clock: FrozenClock) -> None:
        harness = RedisHarness(own, clock, durability="replicated", answer_within=timedelta(seconds=1))
        store = await harness.open()
        with pytest.raises(StoreUnavailable, match="durable"):
            await accept(store, plan())
        replica = RedisServer({"replicaof": f"127.0.0.1 {own.port}"})
        replica.start()
        try:
            while not await self.is_kept(store):
                await anyio.sleep(0.1)
            assert int(replica.command("DBSIZE").removeprefix(":")) > 0
        finally:
            replica.close()
        with pytest.raises(StoreUnavailable, match="durable"):
            await accept(store, plan())
        await harness.close()

    async def is_kept(self, store: Engine) -> bool:
        """Whether an event is taken."""
        try:
            return (await accept(store, plan())).event_id == "purchase_ORD-1"
        except StoreUnavailable:
            return False


class TestRedisTopologies(Bounded):
    """More than one server."""

    async def go_through(self, store: Engine) -> None:
        """Accept, claim, settle, look up, mint and sweep, over all partitions."""
        await store.accept([plan(f"ORD-{number}", ("meta",), money=("EUR", "0.10")) for number in range(60)])
        assert (await accept(store, plan("ORD-7", ("meta",)))).status is Status.DUPLICATE
        batch = await store.claim("meta", 50, LEASE)
        assert len(batch) == 50
        assert await settle(store, *map(delivered, batch[:40]), *map(dead, batch[40:])) == 50
        assert await counts(store) == {"queued": 60, "delivered": 40, "dead": 10, "pending": 10}
        assert len(await dead_letters(store, DeadFilter(), 100)) == 10
        assert await replay(store, DeadFilter(), 100) == 10
        await deliver_all(store, "meta")
        assert await counts(store) == {"queued": 60, "delivered": 60}
        assert len(await store.event("purchase_ORD-7")) == len(await store.transaction("ORD-8")) == 1
        known = await store.mint(IdKey("shop", "Purchase", "ORD-9"), "evt-9", START + DAY)
        assert (known.event_id, known.is_new) == ("purchase_ORD-9", False)
        await store.probe()
        assert await store.sweep() == 0

    @limit(60)
    async def test_a_cluster(self, clock: FrozenClock) -> None:
        cluster = RedisCluster()
        try:
            cluster.start()
            store = await RedisStore.open(cluster.url, destinations=DESTINATIONS, now=clock.now, partitions=64)
            await self.go_through(store)
            assert all(int(server.command("DBSIZE").removeprefix(":")) > 20 for server in cluster.servers)
            await store.close()
        finally:
            cluster.close()

    @limit(60)
    async def test_a_sentinel_group_outlives_its_master(self, clock: FrozenClock) -> None:
        master = RedisServer()
        replica = RedisServer({"replicaof": f"127.0.0.1 {master.port}"})
        sentinel = RedisSentinel(master)
        try:
            for server in (master, replica, sentinel):
                server.start()
            await sentinel.until_known()
            store = await RedisStore.open(sentinel.url, destinations=DESTINATIONS, now=clock.now)
            await self.go_through(store)
            while replica.command("DBSIZE") != master.command("DBSIZE"):
                await anyio.sleep(0.1)
            await anyio.sleep(0.5)  # what was written last is on its way
            master.kill()
            while True:
                try:
                    answer = await accept(store, plan("ORD-after", ("meta",)))
                    break
                except StoreUnavailable:
                    await anyio.sleep(0.2)
            assert answer.event_id == "purchase_ORD-after"
            assert await counts(store) == {"queued": 61, "delivered": 60, "pending": 1}
            await store.close()
        finally:
            for server in (sentinel, replica, master):
                server.close()


class FakeServer:
    """A client that knows two answers: what the server says of itself, and whether it tells its settings."""

    def __init__(self, version: str, appendfsync: str | None) -> None:
        self._version = version
        self._appendfsync = appendfsync

    async def execute_command(self, *words: str) -> object:
        """INFO or CONFIG GET."""
        if words[0] == "INFO":
            return f"redis_version:{self._version}\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n".encode()
        if self._appendfsync is None:
            raise ResponseError("unknown command 'CONFIG'")
        return [b"appendfsync", self._appendfsync.encode()]


@pytest.mark.parametrize(
    ("version", "appendfsync", "waits", "is_weak"),
    [
        ("8.0.1", "everysec", True, False),
        ("7.2.4", None, True, False),
        ("7.2.4", "always", False, False),
        ("7.2.4", "no", True, True),
        ("7.0.15", "always", False, False),
        ("7.0.15", "everysec", False, True),
        ("6.2.14", None, False, True),
    ],
)
@pytest.mark.anyio
async def test_what_an_fsync_takes(version: str, appendfsync: str | None, waits: bool, is_weak: bool) -> None:
    """A server that can be waited for may write once a second, an older one must write always."""
    needs_wait, faults = await boot.check_server(FakeServer(version, appendfsync), "fsync")
    assert (needs_wait, bool(faults)) == (waits, is_weak)


@pytest.mark.anyio
async def test_a_server_that_is_too_old() -> None:
    """The scripts need 6.2."""
    with pytest.raises(StoreMismatch, match=r"6\.0\.16"):
        await boot.check_server(FakeServer("6.0.16", "always"), "fsync")


@pytest.mark.parametrize(
    ("url", "hosts", "rest"),
    [
        ("redis://cache", (("cache", 6379),), (None, None, 0)),
        ("rediss://u:p%40@cache:6380/3", (("cache", 6380),), ("u", "p@", 3)),
        ("redis+cluster://a:1,b:2", (("a", 1), ("b", 2)), (None, None, 0)),
        ("redis+sentinel://a,b:2/main/1", (("a", 26379), ("b", 2)), (None, None, 1)),
        ("redis://[::1]:7000/0", (("::1", 7000),), (None, None, 0)),
    ],
)
def test_urls(url: str, hosts: object, rest: object) -> None:
    """Each scheme is taken apart."""
    address = parse_url(url)
    assert address.hosts == hosts
    assert (address.username, address.password, address.database) == rest
    assert "p@" not in repr(address)


@pytest.mark.parametrize("url", ["sqlite:///x", "redis+sentinel://a:1", "redis://a:b", "redis://a/x", "redis://"])
def test_urls_that_are_none(url: str) -> None:
    """What is not a Redis URL is refused."""
    with pytest.raises(ValueError, match=r"must|may"):
        parse_url(url)
