"""Forgetting: settled events past the journal's time, then ids past theirs. Many short calls, and a bound to them."""

from __future__ import annotations

from datetime import timedelta

from app.outbox.redis.ids import Sweep
from app.outbox.redis.link import Call, Link, encode

EVENTS = 500
"""How many events of a partition one call of the script looks at."""
ROUNDS = 200
"""How often one sweep calls it at most."""


class Sweeper:
    """For one process; others may sweep the same store."""

    def __init__(self, link: Link, retention: timedelta) -> None:
        self._link = link
        self._retention = retention
        self._registry = Sweep(link)

    async def run(self) -> int:
        """Look at what is due; returns how many went.

        Raises:
            StoreUnavailable: A server does not answer.
        """
        payload = encode((EVENTS, self._retention // timedelta(microseconds=1)))
        asked = list(range(self._link.partitions))
        gone = 0
        for _ in range(ROUNDS):
            replies = await self._link.all([Call("sweep", partition, payload) for partition in asked])
            gone += sum(reply[0] for reply in replies)
            asked = [partition for partition, reply in zip(asked, replies, strict=True) if reply[1]]
            if not asked:
                break
        return gone + await self._registry.run(int(self._retention.total_seconds()))
