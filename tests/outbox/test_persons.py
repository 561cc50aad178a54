"""What is kept of persons in the stores of earlier versions, and over many partitions."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from app.outbox.persons import marks_of
from app.outbox.sqlite.store import SqliteStore
from tests.factories import DESTINATIONS, FrozenClock
from tests.outbox.contract_persons import JANE, JOHN, find, ids, order
from tests.outbox.redis_harness import WipedRedis
from tests.outbox.support import LEASE, delivered

pytestmark = pytest.mark.anyio


@pytest.fixture
async def harness(clock: FrozenClock) -> AsyncIterator[WipedRedis]:
    """An empty server."""
    harness = WipedRedis(clock)
    yield harness
    await harness.close()
    harness.discard()


async def test_a_file_from_before_persons_were_marked_is_found_by_its_bodies(tmp_path: Path) -> None:
    clock = FrozenClock()
    path = tmp_path / "convey.db"
    store = await SqliteStore.open(path, destinations=DESTINATIONS, now=clock.now)
    await store.accept([order("ORD-1"), order("ORD-2", JOHN), order("ORD-3")])
    await store.settle([delivered(each) for each in await store.claim("meta", 1, LEASE)])
    await store.settle([delivered(each) for each in await store.claim("tiktok", 1, LEASE)])
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE events DROP COLUMN persons")
    store = await SqliteStore.open(path, destinations=DESTINATIONS, now=clock.now)
    await store.accept([order("ORD-4"), order("ORD-2", JOHN, destinations=("google",))])
    # ORD-1 was delivered and has no body any more: nothing says whose it was.
    assert await ids(store) == ["purchase_ORD-3", "purchase_ORD-4"]
    # What was found by its body is found again without it.
    assert sum((await store.persons.end(await find(store), marks_of(JANE))).values()) == 4
    assert await ids(store) == ["purchase_ORD-3", "purchase_ORD-4"]
    await store.close()


async def test_records_from_before_persons_were_marked_are_found_by_their_bodies(harness: WipedRedis) -> None:
    store = await harness.open()
    await store.accept([order("ORD-1"), order("ORD-2", JOHN), order("ORD-3")])
    for destination in ("meta", "tiktok"):
        await store.settle([delivered(each) for each in await store.claim(destination, 1, LEASE)])
    # As the former version wrote them: a head of six fields, without the last of seven.
    script = """
    for seq = 1, 3 do
      local key = '{c:0}:e:' .. seq
      local event = redis.call('GET', key)
      local size = struct.unpack('>I2', event, 19)
      local head = string.sub(event, 21, 20 + size)
      local marks = cmsgpack.pack(cmsgpack.unpack(head)[7])
      local before = '\\150' .. string.sub(head, 2, #head - #marks)
      local ends = string.sub(event, 21 + size)
      redis.call('SET', key, string.sub(event, 1, 18) .. struct.pack('>I2', #before) .. before .. ends)
    end
    """
    harness.server.command("EVAL", script, "0")
    await store.accept([order("ORD-4"), order("ORD-2", JANE, destinations=("google",))])
    # ORD-1 was delivered and has no body any more: nothing says whose it was.
    assert await ids(store) == ["purchase_ORD-3", "purchase_ORD-4"]
    assert len(await store.event("purchase_ORD-1")) == 1
    # What was found by its body is found again without it.
    assert sum((await store.persons.end(await find(store), marks_of(JANE))).values()) == 4
    assert await ids(store) == ["purchase_ORD-3", "purchase_ORD-4"]
    assert (await store.event("purchase_ORD-3"))[0].transaction == "ORD-3"


async def test_a_scan_looks_through_every_partition(harness: WipedRedis, clock: FrozenClock) -> None:
    store = await harness.open(partitions=16)
    await store.accept([order(f"ORD-{number}") for number in range(60)])
    assert len(await ids(store)) == 60
    assert sum((await store.persons.end(await find(store), marks_of(JANE))).values()) == 120
    assert +await store.persons.forget(await find(store), clock.now()) == Counter(events=60)
    assert await ids(store) == []
    assert (await store.recount()).differences == ()
