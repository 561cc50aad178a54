"""What waits, read from all partitions: how much, and since when."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.outbox.port import Backlog
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import from_us

COLUMNS = 5
"""How many values `gauge.lua` answers for each destination."""
ROUNDS = 500
"""How often the oldest is looked for at most; each looks at thousands of events that are settled."""


async def backlog(link: Link, destinations: Collection[str]) -> Mapping[str, Backlog]:
    """What waits for each destination.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    names = sorted(destinations)
    payload = encode(names)
    replies: list[Any] = [None] * link.partitions
    asked = list(range(link.partitions))
    for _ in range(ROUNDS):
        told = await link.all([Call("gauge", partition, payload) for partition in asked])
        for partition, reply in zip(asked, told, strict=True):
            replies[partition] = reply
        asked = [partition for partition in asked if any(replies[partition][3::COLUMNS])]
        if not asked:
            break
    return {
        name: _backlog([reply[COLUMNS * place : COLUMNS * (place + 1)] for reply in replies])
        for place, name in enumerate(names)
    }


def _backlog(rows: list[tuple[int, int, bytes, int, int]]) -> Backlog:
    ready, every = sum(row[0] for row in rows), sum(row[1] for row in rows)
    oldest = min((int(row[2]) for row in rows if row[2]), default=None)
    return Backlog(ready, every - ready, None if oldest is None else from_us(oldest), sum(row[4] for row in rows))
