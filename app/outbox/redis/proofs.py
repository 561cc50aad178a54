"""Proofs of consent decisions: lists by day and by part of the ids, each deleted by the server when its time is over.

{c:n}:j:<day>:<part>    list: source, event name, event id and the encoded proof of each event accepted that day

The day is that of the decision, days since the Unix epoch. Over all partitions there are about `LISTS_A_DAY` lists a
day, so that the proofs of one event are found by reading short lists, and an export reads them one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.errors import StoreUnavailable
from app.outbox.port import EventState
from app.outbox.proofs import ProofPage
from app.outbox.redis.link import Link
from app.outbox.redis.places import Place, blob, from_us, place_of, to_us
from app.outbox.redis.squeeze import PROOFS
from app.proof import ConsentProof, KeptProof, decode_proof, encode_proof

LISTS_A_DAY = 4096
LISTS_A_PAGE = 64
DAYS_OF_REPEATS = 40
"""For how many days after the first a repeat of an event may be accepted: the longest window, and some."""
_DAY_US = 86_400_000_000
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str, str, str, bytes])


def _parts(partitions: int) -> int:
    return max(1, LISTS_A_DAY // partitions)


def _list(place: Place, day: int, partitions: int) -> str:
    return f"{day}:{int.from_bytes(bytes(place.field)[-2:], 'big') % _parts(partitions)}"


def _day(instant: datetime) -> int:
    return to_us(instant) // _DAY_US


def told(
    proof: ConsentProof | None, key: tuple[str, str, str], place: Place, partitions: int, retention: timedelta
) -> tuple[Any, ...]:
    """What `accept.lua` is told of a proof: its list, itself, and the second at which the list ends."""
    if proof is None:
        return "", blob(b""), 0
    day = _day(proof.decided_at)
    until_s = (day + 1) * 86_400 + int(retention.total_seconds())
    return _list(place, day, partitions), blob(PROOFS.squeeze(_encoder.encode((*key, encode_proof(proof))))), until_s


def _kept(body: bytes) -> KeptProof:
    source, event_name, event_id, proof = _decoder.decode(PROOFS.unsqueeze(body))
    return KeptProof(source, event_name, event_id, decode_proof(proof))


def _key(body: bytes) -> tuple[str, str, str]:
    """Whose proof it is: source, event name, event id."""
    return _decoder.decode(PROOFS.unsqueeze(body))[:3]


class RedisProofs:
    """See `app.outbox.proofs.ProofStore` for what each method promises."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def _read(self, asked: Sequence[tuple[int, str]]) -> list[KeptProof]:
        found: list[KeptProof] = []
        for bodies in await self._link.scatter("proofs", asked, lambda reply: reply):
            if isinstance(bodies, StoreUnavailable):
                raise bodies
            found += map(_kept, bodies)
        return found

    async def of(self, event_id: str, source: str, since: datetime) -> Sequence[KeptProof]:
        """See `ProofStore.of`."""
        partitions, first = self._link.partitions, _day(since)
        place = place_of(source, event_id, partitions)
        days = range(first, first + DAYS_OF_REPEATS)
        kept = await self._read([(place.partition, _list(place, day, partitions)) for day in days])
        own = [
            each
            for each in kept
            if (each.source, each.event_id) == (source, event_id) and each.proof.decided_at >= since
        ]
        own.sort(key=lambda each: each.proof.decided_at, reverse=True)
        return own[:100]

    async def forget(self, state: EventState) -> int:
        """Delete the proofs of one event; returns how many.

        Raises:
            StoreUnavailable: A server does not answer.
        """
        partitions, key = self._link.partitions, (state.source, state.event_name, state.event_id)
        place = place_of(state.source, state.event_id, partitions)
        first = _day(state.accepted_at) - 1
        names = [_list(place, day, partitions) for day in range(first, first + DAYS_OF_REPEATS + 1)]
        told = await self._link.scatter("proofs", [(place.partition, name) for name in names], lambda reply: reply)
        asked = []
        for name, bodies in zip(names, told, strict=True):
            if isinstance(bodies, StoreUnavailable):
                raise bodies
            asked += [(place.partition, (name, blob(bytes(body)))) for body in bodies if _key(body) == key]
        gone = 0
        for number in await self._link.scatter("unprove", asked, list, durable=True) if asked else ():
            if isinstance(number, StoreUnavailable):
                raise number
            gone += number
        return gone

    async def page(self, since: datetime, until: datetime, after: str | None, source: str | None) -> ProofPage:
        """See `ProofStore.page`."""
        partitions = self._link.partitions
        lists = _parts(partitions) * partitions
        day, start = map(int, after.split(".")) if after is not None else (_day(since), 0)
        if from_us(day * _DAY_US) >= until:
            return ProofPage((), None)
        end = min(start + LISTS_A_PAGE, lists)
        kept = await self._read(
            [(number % partitions, f"{day}:{number // partitions}") for number in range(start, end)]
        )
        within = [
            each for each in kept if since <= each.proof.decided_at < until and each.source == (source or each.source)
        ]
        day, start = (day, end) if end < lists else (day + 1, 0)
        return ProofPage(within, None if from_us(day * _DAY_US) >= until else f"{day}.{start}")
