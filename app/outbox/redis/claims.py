"""Claiming over all partitions, oldest ready first, and what `settle.lua` is told."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from app.errors import Outcome, StoreUnavailable
from app.model import Delivery, Settlement
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import blob, from_us, to_us
from app.outbox.redis.records import STATES, Body, decode_body, encode_why, pack_end, unpack_claim

WARM_BODIES = 5_000
"""How many decoded bodies are kept for the claims of other destinations that follow."""
FRUITLESS_ROUNDS = 5
_MICROSECOND = timedelta(microseconds=1)


class Ticket(NamedTuple):
    """The `key` of a `Delivery`: where it lies, and what it is counted with when it ends.

    `nonce` tells its event from another that a failover gave the same number.
    """

    partition: int
    seq: str
    queue: str
    nonce: int
    money: tuple[str, int, int]
    size: int


class Claims:
    """Claims for one process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._warm: dict[tuple[int, str], Body] = {}

    async def claim(self, destination: str, limit: int, lease: timedelta) -> Sequence[Delivery]:
        """Take ready deliveries; what another process takes first is made up for from what is left."""
        token = secrets.randbits(52) | 1
        claimed: list[tuple[int, Delivery]] = []
        fruitless = 0
        while len(claimed) < limit and fruitless < FRUITLESS_ROUNDS:
            shares = await self._shares(destination, limit - len(claimed))
            taken = await self._take(destination, token, lease, shares) if shares else []
            claimed += taken
            fruitless += not taken
            if len(taken) == sum(shares.values()) < limit or self._link.partitions == 1:
                break
        claimed.sort(key=lambda each: each[0])
        return [delivery for _, delivery in claimed]

    async def _shares(self, destination: str, wanted: int) -> Counter[int]:
        """How many of the `wanted` oldest ready deliveries lie in each partition."""
        partitions = self._link.partitions
        if partitions == 1:
            return Counter({0: wanted})
        share = min(wanted, -(-wanted // partitions) * 2 + 16)
        found = await self._look(destination, share, range(partitions))
        oldest = _merge(found, wanted)
        # A partition that gave all it was asked for may have more that belongs among the oldest.
        last = oldest[-1][0] if len(oldest) == wanted else float("inf")
        short = [number for number, ready in found.items() if len(ready) == share < wanted and ready[-1] < last]
        if short:
            oldest = _merge(found | await self._look(destination, wanted, short), wanted)
        return Counter(partition for _, partition in oldest)

    async def _look(self, destination: str, most: int, of: Sequence[int]) -> dict[int, list[float]]:
        payload = encode((destination, most))
        replies = await self._link.all([Call("ready", partition, payload) for partition in of])
        return {partition: [float(score) for score in reply] for partition, reply in zip(of, replies, strict=True)}

    async def _take(
        self, destination: str, token: int, lease: timedelta, shares: Counter[int]
    ) -> list[tuple[int, Delivery]]:
        """The deliveries claimed, each with the instant it was ready at."""
        lease_us = lease // _MICROSECOND
        calls = [
            Call("claim", partition, encode((destination, token, lease_us, share)))
            for partition, share in shares.items()
        ]
        replies = await self._link.run(calls, durable=True)
        taken: list[tuple[int, Delivery]] = []
        fence = token.to_bytes(8, "big")
        for partition, reply in zip(shares, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                continue
            now, *columns = reply
            until = from_us(int(now) + lease_us)
            for seq, score, queue, claim, raw in zip(*columns, strict=True):
                _, _, unsure_us, attempts, unknown_answers = unpack_claim(claim)
                number = seq.decode()
                body = self._body(partition, number, raw)
                lead, limited, term = body.lead(destination)
                money = (lead.currency, lead.units, lead.millionths)
                delivery = Delivery(
                    key=Ticket(partition, number, queue.decode(), body.nonce, money, body.size),
                    token=fence,
                    destination=destination,
                    event_id=lead.event_id,
                    event=body.event,
                    accepted_at=body.accepted_at,
                    budget=term.budget,
                    limited=bool(limited),
                    attempts=attempts,
                    unsure_since=from_us(unsure_us) if unsure_us else None,
                    unknown_answers=unknown_answers,
                    claimed_until=until,
                )
                taken.append((int(float(score)), delivery))
        failures = [reply for reply in replies if isinstance(reply, StoreUnavailable)]
        if failures and not taken:
            raise failures[0]
        return taken

    def _body(self, partition: int, seq: str, raw: bytes) -> Body:
        known = self._warm.get((partition, seq))
        # A failover may have given the number to another event, a later copy may have added to this one.
        if known is None or known.raw != raw:
            known = self._warm[partition, seq] = decode_body(raw)
            if len(self._warm) > WARM_BODIES:
                del self._warm[next(iter(self._warm))]
        return known


def _merge(found: dict[int, list[float]], wanted: int) -> list[tuple[float, int]]:
    every = [(score, partition) for partition, ready in found.items() for score in ready]
    every.sort()
    return every[:wanted]


def claim_item(delivery: Delivery) -> tuple[str, str, str, int]:
    """What tells a claim apart within its partition."""
    ticket: Ticket = delivery.key
    return ticket.seq, delivery.destination, ticket.queue, int.from_bytes(delivery.token, "big")


class Ending(NamedTuple):
    """A settlement, encoded, and where it goes."""

    partition: int
    destination: str
    queue: str
    seq: str
    packed: bytes


def ending(settlement: Settlement) -> Ending:
    """What `settle.lua` is told of a settlement.

    Raises:
        UnicodeEncodeError: There is text in it that cannot be kept.
    """
    delivery = settlement.delivery
    ticket: Ticket = delivery.key
    unsure_us = 0
    if settlement.outcome is Outcome.DEAD and (since := delivery.unsure_since or settlement.unsure_since):
        unsure_us = to_us(since)
    packed = pack_end(
        int.from_bytes(delivery.token, "big"),
        ticket.nonce,
        STATES[settlement.outcome],
        settlement.attempted,
        delivery.limited,
        0 if settlement.unsure_since is None else to_us(settlement.unsure_since),
        settlement.unknown_answers,
        0 if settlement.ready_at is None else to_us(settlement.ready_at),
        ticket.money,
        ticket.size,
        encode_why(settlement.reason, settlement.detail, settlement.trace_id, unsure_us),
    )
    return Ending(ticket.partition, delivery.destination, ticket.queue, ticket.seq, packed)


async def settle(link: Link, endings: Sequence[Ending]) -> list[int | Exception]:
    """Of each in turn 1 where it took effect, 0 where not, or why that is not known."""
    groups: defaultdict[int, defaultdict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, each in enumerate(endings):
        groups[each.partition][each.destination, each.queue].append(position)
    calls = []
    for partition, lanes in groups.items():
        payload: list[Any] = [
            (
                *lane,
                [endings[position].seq for position in positions],
                [blob(endings[position].packed) for position in positions],
            )
            for lane, positions in lanes.items()
        ]
        calls.append(Call("settle", partition, encode(payload)))
    told = await link.run(calls, durable=True)
    answers: list[int | Exception] = [0] * len(endings)
    for lanes, reply in zip(groups.values(), told, strict=True):
        every = [position for positions in lanes.values() for position in positions]
        done = [reply] * len(every) if isinstance(reply, StoreUnavailable) else reply
        for position, one in zip(every, done, strict=True):
            answers[position] = one
    return answers
