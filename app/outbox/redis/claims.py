"""Claiming over all partitions, oldest ready first, and what `settle.lua` is told."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.errors import StoreUnavailable
from app.model import Delivery, HashedEvent, Settlement, decode_event
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import from_us, to_us
from app.outbox.redis.records import STATES, decode_record

WARM_EVENTS = 5_000
"""How many decoded events are kept for the claims of other destinations that follow."""
FRUITLESS_ROUNDS = 5
_MICROSECOND = timedelta(microseconds=1)
Key = tuple[int, int]
"""(partition, number of the event in it): the `key` of a `Delivery`."""


class Claims:
    """Claims for one process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._warm: dict[Key, HashedEvent] = {}

    def forget(self) -> None:
        """The numbers of events begin anew."""
        self._warm.clear()

    async def claim(self, destination: str, limit: int, lease: timedelta) -> Sequence[Delivery]:
        """Take ready deliveries; what another process takes first is made up for from what is left."""
        token = secrets.randbits(52) | 1
        claimed: list[Delivery] = []
        fruitless = 0
        while len(claimed) < limit and fruitless < FRUITLESS_ROUNDS:
            wanted = limit - len(claimed)
            chosen = await self._ready(destination, wanted)
            if not chosen:
                break
            taken = await self._take(destination, token, lease, chosen)
            claimed += taken
            fruitless = 0 if taken else fruitless + 1
            if len(taken) == len(chosen) < wanted:
                break
        return claimed

    async def _ready(self, destination: str, wanted: int) -> list[Key]:
        """The `wanted` oldest ready deliveries of all partitions."""
        partitions = self._link.partitions
        share = min(wanted, -(-wanted // partitions) * 2 + 16)
        found = await self._look(destination, share, range(partitions))
        oldest = _merge(found, wanted)
        # A partition that gave all it was asked for may have more that belongs among the oldest.
        last = oldest[-1][0] if len(oldest) == wanted else float("inf")
        short = [number for number, ready in found.items() if len(ready) == share < wanted and ready[-1][0] < last]
        if short:
            oldest = _merge(found | await self._look(destination, wanted, short), wanted)
        return [(partition, seq) for _, seq, partition in oldest]

    async def _look(self, destination: str, most: int, of: Sequence[int]) -> dict[int, list[tuple[float, int]]]:
        payload = encode((destination, most))
        replies = await self._link.all([Call("ready", partition, payload) for partition in of])
        return {
            partition: [(float(score), int(seq)) for seq, score in zip(reply[1::2], reply[2::2], strict=True)]
            for partition, reply in zip(of, replies, strict=True)
        }

    async def _take(self, destination: str, token: int, lease: timedelta, chosen: Sequence[Key]) -> Sequence[Delivery]:
        wanted: defaultdict[int, list[int]] = defaultdict(list)
        for partition, seq in chosen:
            wanted[partition].append(seq)
        lease_us = lease // _MICROSECOND
        calls = [
            Call("claim", partition, encode((destination, token, lease_us, seqs))) for partition, seqs in wanted.items()
        ]
        replies = await self._link.run(calls, durable=True)
        taken: dict[Key, Delivery] = {}
        for partition, reply in zip(wanted, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                continue
            until_us = int(reply[0]) + lease_us
            for seq, record, body in zip(reply[1::3], reply[2::3], reply[3::3], strict=True):
                key = (partition, int(seq))
                taken[key] = self._delivery(key, destination, token, record, body, until_us)
        failures = [reply for reply in replies if isinstance(reply, StoreUnavailable)]
        if failures and not taken:
            raise failures[0]
        return [taken[key] for key in chosen if key in taken]

    def _delivery(self, key: Key, destination: str, token: int, packed: bytes, body: bytes, until_us: int) -> Delivery:
        record = decode_record(packed)
        state = record.at(destination)
        event = self._warm.get(key)
        if event is None:
            event = self._warm[key] = decode_event(body)
            if len(self._warm) > WARM_EVENTS:
                del self._warm[next(iter(self._warm))]
        return Delivery(
            key=key,
            token=token.to_bytes(8, "big"),
            destination=destination,
            event_id=record.event_id,
            event=event,
            accepted_at=from_us(record.accepted_at),
            budget=record.terms[state.term - 1].budget,
            limited=bool(state.limited),
            attempts=state.attempts,
            unsure_since=from_us(state.unsure_since) if state.unsure_since else None,
            unknown_answers=state.unknown_answers,
            claimed_until=from_us(until_us),
        )


def _merge(found: dict[int, list[tuple[float, int]]], wanted: int) -> list[tuple[float, int, int]]:
    every = [(score, seq, partition) for partition, ready in found.items() for score, seq in ready]
    every.sort()
    return every[:wanted]


def claim_item(delivery: Delivery) -> tuple[int, str, int]:
    """What tells a claim apart within its partition."""
    return delivery.key[1], delivery.destination, int.from_bytes(delivery.token, "big")


def settlement_item(settlement: Settlement) -> tuple[int, Any]:
    """What `settle.lua` is told, and in which partition.

    Raises:
        UnicodeEncodeError: There is text in it that cannot be kept.
    """
    delivery = settlement.delivery
    partition, seq = delivery.key
    for text in (settlement.detail, settlement.trace_id):
        if text is not None:
            text.encode()
    return partition, (
        seq,
        delivery.destination,
        int.from_bytes(delivery.token, "big"),
        STATES[settlement.outcome],
        settlement.reason or False,
        settlement.detail or False,
        settlement.trace_id or False,
        False if settlement.ready_at is None else to_us(settlement.ready_at),
        int(settlement.attempted),
        0 if settlement.unsure_since is None else to_us(settlement.unsure_since),
        settlement.unknown_answers,
    )
