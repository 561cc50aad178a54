"""The stores that chaos is played on, without a gateway: each loses a primary once and goes on with everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from app.errors import StoreUnavailable
from app.model import Delivery
from app.outbox.redis import RedisStore
from tests.chaos.fleet import running
from tests.chaos.stores import Cluster, RedisStores, SentinelGroup
from tests.factories import plan
from tests.outbox.support import LEASE, counts, delivered

pytestmark = pytest.mark.anyio
SIZE = 60


async def until_taken(store: RedisStore, prefix: str) -> None:
    """Post orders again and again until all are taken."""
    with anyio.fail_after(60):
        while True:
            try:
                await store.accept([plan(f"{prefix}-{number}", ("meta",)) for number in range(SIZE)])
            except StoreUnavailable:
                await anyio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("make", [SentinelGroup, Cluster])
async def test_a_store_outlives_its_primary(make: Callable[[], RedisStores]) -> None:
    with running(make) as stores:
        store = await RedisStore.open(
            stores.settings["url"], destinations=["meta"], durability="replicated", answer_within=timedelta(seconds=2)
        )
        try:
            await until_taken(store, "BEFORE")
            await anyio.to_thread.run_sync(stores.fail_over)
            await until_taken(store, "AFTER")
            await until_taken(store, "BEFORE")  # known, and not queued again
            claimed: list[Delivery] = []
            while batch := await store.claim("meta", 50, LEASE):
                claimed += batch
            assert await store.settle([delivered(each) for each in claimed]) == 2 * SIZE
            assert await counts(store) == {"queued": 2 * SIZE, "delivered": 2 * SIZE}
        finally:
            await store.close()
