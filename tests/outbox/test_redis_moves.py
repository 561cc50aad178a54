"""Connections that break and keys that move: the call at hand fails, the next one goes where it should."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from app.errors import StoreUnavailable
from app.outbox.redis import RedisStore
from app.outbox.redis.link import tag
from app.outbox.redis.nodes import _ClusterNodes
from app.outbox.redis.watch import Watch
from tests.chaos.proxy import TcpProxy
from tests.factories import plan
from tests.outbox.support import LEASE, Engine
from tests.redis_server import RedisCluster, RedisServer, free_port

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loops the gateway may run on: they say of a broken connection in different words that it is broken."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that nobody else uses."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


async def until_taken(store: Engine, number: int) -> int:
    """How many tries it takes until orders of every partition are taken."""
    with anyio.fail_after(20):
        tries = 0
        while True:
            tries += 1
            try:
                await store.accept([plan(f"ORD-{number}-{each}", ("meta",)) for each in range(30)])
            except StoreUnavailable:
                continue
            return tries


async def test_connections_that_were_reset_are_replaced(own: RedisServer) -> None:
    proxy = TcpProxy(own.port)
    proxy.start()
    store = await RedisStore.open(f"redis://127.0.0.1:{proxy.port}/0", destinations=["meta"])
    try:
        for number in range(20):
            calls = [store.probe(), store.ledger(), store.claim("meta", 10, LEASE), store.backlog()]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0)
            assert proxy.reset() > 0
            for told in await asyncio.gather(*tasks, return_exceptions=True):
                assert not isinstance(told, BaseException) or isinstance(told, StoreUnavailable), told
            assert await until_taken(store, number) <= 5
    finally:
        await store.close()
        proxy.close()


async def test_more_calls_at_once_than_there_are_connections_wait_their_turn(own: RedisServer) -> None:
    store = await RedisStore.open(own.url, destinations=["meta"])
    await store.accept([plan("ORD-1", ("meta",))])
    found = await asyncio.gather(*(store.event("purchase_ORD-1") for _ in range(400)))
    assert [len(states) for states in found] == [1] * 400
    await store.close()


async def test_a_store_closes_although_a_cancellation_got_lost(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = asyncio.Event()

    async def look(_watch: Watch) -> None:
        if looking.is_set():
            return
        looking.set()
        with contextlib.suppress(asyncio.CancelledError):  # as the driver does while it drops a connection
            await asyncio.sleep(60)

    store = await RedisStore.open(own.url, destinations=["meta"])
    monkeypatch.setattr(Watch, "look", look)
    await looking.wait()
    closing = asyncio.create_task(store.close())
    ended, _ = await asyncio.wait({closing}, timeout=20)
    assert ended, "the store waits for ever for its watch to end"


async def test_a_map_of_slots_that_is_out_of_date_is_read_again() -> None:
    cluster = RedisCluster()
    cluster.start()
    store = await RedisStore.open(cluster.url, destinations=["meta"], partitions=8)
    try:
        nodes = store._link.nodes
        assert isinstance(nodes, _ClusterNodes)
        for number, server in enumerate(cluster.servers):
            nodes._slots._masters = [("127.0.0.1", server.port)] * 16384
            assert await until_taken(store, number) <= 4
            assert len(nodes.all()) == 2
            nodes._slots._masters = [("127.0.0.1", server.port)] * 16384
            for _ in range(2):  # what is no script finds out as well
                with contextlib.suppress(StoreUnavailable):
                    await store.probe()
            await store.probe()
    finally:
        await store.close()
        cluster.close()


async def test_a_seed_that_is_gone_is_passed_over() -> None:
    cluster = RedisCluster()
    cluster.start()
    url = cluster.url.replace("redis+cluster://", f"redis+cluster://127.0.0.1:{free_port()},")
    store = await RedisStore.open(url, destinations=["meta"], partitions=8)
    try:
        assert await until_taken(store, 1) == 1
    finally:
        await store.close()
        cluster.close()


async def test_processes_that_make_a_store_together_cry_no_wolf(
    own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await asyncio.gather(*(RedisStore.open(own.url, destinations=["meta"], partitions=8) for _ in range(6)))
    for store in opened:
        await store.close()
    assert "store.emptied" not in caplog.messages
    assert own.command("DEL", tag(3)) == ":1"
    store = await RedisStore.open(own.url, destinations=["meta"])
    await store.close()
    assert caplog.messages.count("store.emptied") == 1
