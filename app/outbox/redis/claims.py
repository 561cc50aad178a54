"""Claiming over all partitions, and what `settle.lua` is told."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.errors import Outcome, StoreUnavailable
from app.model import Delivery, HashedEvent, Settlement
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.parts import Part, only_group, parts_of
from app.outbox.redis.places import blob, from_us, to_us
from app.outbox.redis.records import STATES, Body, decode_body, encode_why, pack_end, sealed_in, unpack_claim
from app.outbox.redis.squeeze import unsqueeze
from app.outbox.shares import Choice
from app.outbox.vault import Vault

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

    def __init__(self, link: Link, vault: Vault) -> None:
        self._link = link
        self._vault = vault
        self._warm: dict[tuple[int, str], tuple[Body, HashedEvent]] = {}

    async def claim(self, destination: str, limit: int, lease: timedelta, choice: Choice) -> Sequence[Delivery]:
        """Take ready deliveries; what another process takes first is made up for from what is left."""
        token = secrets.randbits(52) | 1
        claimed: list[tuple[int, Delivery]] = []
        fruitless = 0
        while len(claimed) < limit and fruitless < FRUITLESS_ROUNDS:
            wanted = limit - len(claimed)
            if self._link.partitions == 1:
                taken, groups = await self._take(destination, token, lease, only_group(wanted, choice), choice)
                if groups < 2:
                    claimed += taken
                    break
            parts = await parts_of(self._link, destination, wanted, choice)
            taken, _ = await self._take(destination, token, lease, parts, choice) if parts else ([], 0)
            claimed += taken
            fruitless += not taken
            if len(taken) == sum(part.total for part in parts) < wanted:
                break
        claimed.sort(key=lambda each: each[0], reverse=choice.is_newest_first)
        return [delivery for _, delivery in claimed]

    async def _take(
        self, destination: str, token: int, lease: timedelta, parts: Sequence[Part], choice: Choice
    ) -> tuple[list[tuple[int, Delivery]], int]:
        """The deliveries claimed, each with the instant it was ready at, and how many groups there were."""
        lease_us = lease // _MICROSECOND
        shares: defaultdict[int, list[tuple[str, int, int]]] = defaultdict(list)
        for part in parts:
            shares[part.partition].append((part.group, part.oldest, part.newest))
        paused = sorted(choice.paused)
        calls = [
            Call("claim", partition, encode((destination, token, lease_us, share, paused)))
            for partition, share in shares.items()
        ]
        until = self._link.wall() + lease
        replies = await self._link.run(calls, durable=True)
        taken: list[tuple[int, Delivery]] = []
        groups = 0
        fence = token.to_bytes(8, "big")
        told = [
            (partition, reply)
            for partition, reply in zip(shares, replies, strict=True)
            if not isinstance(reply, StoreUnavailable)
        ]
        await self._vault.get_to_know(sealed_in(raw for _, reply in told for raw in reply[5]))
        for partition, reply in told:
            _, *columns, groups = reply
            for seq, score, queue, claim, raw in zip(*columns, strict=True):
                _, _, unsure_us, attempts, unknown_answers = unpack_claim(claim)
                number = seq.decode()
                body, event = self._body(partition, number, raw)
                lead, limited, term = body.lead(destination)
                money = (lead.currency, lead.units, lead.millionths)
                delivery = Delivery(
                    key=Ticket(partition, number, queue.decode(), body.nonce, money, body.size),
                    token=fence,
                    destination=destination,
                    event_id=lead.event_id,
                    event=event,
                    accepted_at=body.accepted_at,
                    budget=term.budget,
                    limited=bool(limited),
                    attempts=attempts,
                    unsure_since=from_us(unsure_us) if unsure_us else None,
                    unknown_answers=unknown_answers,
                    claimed_until=until,
                    is_held=queue.startswith(b"held\t"),
                )
                taken.append((int(float(score)), delivery))
        failures = [reply for reply in replies if isinstance(reply, StoreUnavailable)]
        if failures and not taken:
            raise failures[0]
        return taken, groups

    def _body(self, partition: int, seq: str, raw: bytes) -> tuple[Body, HashedEvent]:
        known = self._warm.get((partition, seq))
        # A failover may have given the number to another event, a later copy may have added to this one.
        if known is None or known[0].raw != raw:
            body = decode_body(raw)
            known = body, self._vault.event(body.basket, unsqueeze)
            if self._vault.is_opened(known[1]):
                self._warm[partition, seq] = known
            if len(self._warm) > WARM_BODIES:
                del self._warm[next(iter(self._warm))]
        return known


def claim_item(delivery: Delivery) -> tuple[str, str, str, int]:
    """What tells a claim apart within its partition."""
    ticket: Ticket = delivery.key
    return ticket.seq, delivery.destination, ticket.queue, int.from_bytes(delivery.token, "big")


async def extend(link: Link, deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
    """Move the ends of the leases; returns those still held, in order.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    wanted: defaultdict[int, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        wanted[delivery.key.partition].append(delivery)
    lease_us = lease // _MICROSECOND
    calls = [
        Call("extend", partition, encode((lease_us, [claim_item(delivery) for delivery in those])))
        for partition, those in wanted.items()
    ]
    replies = await link.all(calls, durable=True) if calls else []
    held = {
        id(delivery)
        for those, reply in zip(wanted.values(), replies, strict=True)
        for delivery, is_held in zip(those, reply, strict=True)
        if is_held
    }
    return [delivery for delivery in deliveries if id(delivery) in held]


class Ending(NamedTuple):
    """A settlement, encoded, and where it goes."""

    partition: int
    destination: str
    queue: str
    seq: str
    packed: bytes


def ending(settlement: Settlement, now: datetime) -> Ending:
    """What `settle.lua` is told of a settlement that is made at `now`, by the clock that `ready_at` goes by.

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
        0 if settlement.ready_at is None else max(0, to_us(settlement.ready_at) - to_us(now)),
        ticket.money,
        ticket.size,
        encode_why(
            settlement.reason,
            settlement.detail,
            settlement.trace_id,
            unsure_us,
            None if settlement.outcome is Outcome.RETRYING else ticket.money,
        ),
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
