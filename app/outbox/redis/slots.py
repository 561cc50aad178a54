"""Which server of a cluster holds which slot, as the servers tell it.

The driver's own map asks a server it just read about, which in a failover is the one that is gone, and then is left
without any; so the slots are read here, from whichever server answers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from app.errors import StoreUnavailable

Place = tuple[str, int]
"""Host and port."""


class SlotMap:
    """The masters of a cluster by slot. `at` gives the client of a place."""

    def __init__(self, seeds: Sequence[Place], at: Callable[[str, int], Redis]) -> None:
        self._seeds = tuple(seeds)
        self._at = at
        self._known: set[Place] = set()
        self._masters: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._reading: asyncio.Task[None] | None = None

    def place_of(self, key: str) -> Place:
        """Where `key` lies.

        Raises:
            StoreUnavailable: Nobody holds its slot, as far as is known.
        """
        place = self._masters[key_slot(key.encode())]
        if place is None:
            raise StoreUnavailable("no server of the cluster holds a part of the store")
        return place

    def masters(self) -> list[Place]:
        """Every server that holds a slot."""
        return sorted({place for place in self._masters if place is not None})

    async def read(self) -> None:
        """Read the map anew; calls that come meanwhile share one reading.

        Raises:
            StoreUnavailable: No server knows of all slots.
        """
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="convey-redis-slots")
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        # In any order, so that a server with an old view of things is not asked first each time.
        places = random.sample(sorted(self._known), len(self._known))
        last: Exception | None = None
        for host, port in dict.fromkeys([*places, *self._seeds]):
            try:
                ask: Any = self._at(host, port).execute_command
                masters, known = _parse(await ask("CLUSTER", "SLOTS"), host)
            except (RedisError, OSError, TimeoutError, RuntimeError) as error:  # uvloop's word for a reset is the last
                last = error
                continue
            if None not in masters:
                self._masters, self._known = masters, known
                return
        raise StoreUnavailable("no server of the cluster knows who holds all of its slots") from last


def _parse(told: Any, asked: str) -> tuple[list[Place | None], set[Place]]:
    """The master of each slot, and every server named. Source: CLUSTER SLOTS, redis.io, read 2026-11."""
    masters: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    known: set[Place] = set()
    for first, last, *servers in told:
        places = [(_text(server[0]) or asked, int(server[1])) for server in servers]
        known.update(places)
        masters[first : last + 1] = [places[0]] * (last + 1 - first)
    return masters, known


def _text(value: Any) -> str:
    """A host; a server that knows no name for one leaves it empty or null."""
    return value.decode() if isinstance(value, bytes) else str(value or "")
