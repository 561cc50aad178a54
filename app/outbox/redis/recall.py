"""What this process was told lately, to be told again to a server that may have forgotten it.

A replica that takes over has what it had received, a server that was killed what it had written. So for half a minute a
process keeps what was acknowledged: plans with the id they got, minted ids, withdrawals, which held events were
released or cancelled, and which deliveries arrived. All of it can be told twice: accepting is idempotent, minting,
releasing and cancelling too, of withdrawals the latest stands, and a late `delivered` counts while its delivery is
pending.

In a store begun anew an event has another number, and another process may be the one to restore it. So what arrived is
known by its event as well, and is recognised when it is claimed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from app.errors import Outcome, Status
from app.model import Accepted, Delivery, HashedEvent, IdRequest, Plan, Settlement, from_epoch
from app.outbox.port import Memo
from app.outbox.redis.accept import Item
from app.outbox.redis.claims import Ending
from app.outbox.redis.holds import Unhold
from app.outbox.redis.ids import Minting
from app.outbox.redis.memos import place
from app.outbox.redis.places import place_of
from app.outbox.redis.plans import Encoded
from app.proof import decode_proof, encode_proof
from app.withdrawal import BOOK

KEEP_FOR = timedelta(seconds=30)
RECOGNISED_FOR = timedelta(minutes=10)
"""How long after a store was begun anew what had arrived before is recognised."""
MAX_BYTES = 32 << 20
OTHER_BYTES = 300
"""About what an entry takes beside its bytes."""
_NOWHERE = HashedEvent("", "", from_epoch(0))


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """A plan that was acknowledged under `event_id`, as bytes: thousands of them are no work for the collector."""

    event_id: str
    source: str
    event_name: str
    transaction: str | None
    occurrence: str | None
    remember_until: datetime
    accepted_at: datetime
    is_bulk: bool
    encoded: Encoded
    proof: bytes | None = None

    def item(self) -> Item:
        """To be accepted again, under the id its caller was given. Its event is in the encoded basket only."""
        request = IdRequest(
            self.source,
            self.event_name,
            self.transaction,
            self.occurrence,
            asked=self.event_id,
            derived=self.event_id,
            remember_until=self.remember_until,
        )
        proof = None if self.proof is None else decode_proof(self.proof)
        plan = Plan(_NOWHERE, request, (), {}, self.accepted_at, is_bulk=self.is_bulk, proof=proof)
        return Item(plan, self.encoded)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Kept)
Arrival = tuple[str, str, str]
"""A delivery by its event: the queue's text, which names event and source, its event_id and its destination."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """That a delivery arrived, and what the store is told of it."""

    arrival: Arrival
    ending: Ending


Told = bytes | Arrived | Minting | Memo | Unhold


@dataclass(slots=True)
class Recall:
    """What was acknowledged within `keep_for` before the servers were last seen to be the same, in bounded memory.

    It only grows old while the servers are looked at: nothing is dropped during an outage, however long.
    """

    keep_for: timedelta = KEEP_FOR
    max_bytes: int = MAX_BYTES
    now: Callable[[], float] = time.monotonic
    _unkept: deque[list[int]] = field(default_factory=deque)
    _told: deque[tuple[float, int, Told]] = field(default_factory=deque)
    _bytes: int = 0
    _arrived: set[Arrival] = field(default_factory=set)
    _recognised_until: float = 0.0

    def accepted(self, items: Sequence[Item], answers: Sequence[Accepted]) -> None:
        """Keep plans that were answered. A conflict has nothing to lose."""
        for item, answer in zip(items, answers, strict=True):
            if answer.status is Status.CONFLICT:
                continue
            plan, request = item.plan, item.plan.id_request
            kept = _encoder.encode(
                Kept(
                    answer.event_id,
                    request.source,
                    request.event_name,
                    request.transaction,
                    request.occurrence,
                    request.remember_until,
                    plan.accepted_at,
                    plan.is_bulk,
                    item.encoded,
                    None if plan.proof is None else encode_proof(plan.proof),
                )
            )
            self._keep(kept, len(kept) + OTHER_BYTES)

    def settling(self, settlements: Sequence[Settlement], endings: Sequence[Ending]) -> None:
        """Keep what arrived, before the store is told: a platform has it, whatever becomes of the settlement."""
        for settlement, ending in zip(settlements, endings, strict=True):
            if settlement.outcome is Outcome.DELIVERED:
                arrival = _arrival_of(settlement.delivery)
                self._keep(Arrived(arrival, ending), 2 * OTHER_BYTES + len(ending.packed))
                if self.now() < self._recognised_until:
                    self._arrived.add(arrival)

    def settled(self, settlements: Sequence[Settlement], effects: Sequence[int]) -> None:
        """Those that took effect are not claimed again: only the others need be recognised."""
        if self._arrived:
            for settlement, effect in zip(settlements, effects, strict=True):
                if effect:
                    self._arrived.discard(_arrival_of(settlement.delivery))

    def begun_anew(self) -> None:
        """The store lost everything: what had arrived is recognised from now on, whoever restores it."""
        self._arrived |= {told.arrival for _, _, told in self._told if isinstance(told, Arrived)}
        self._recognised_until = self.now() + RECOGNISED_FOR.total_seconds()

    def has_arrived(self, delivery: Delivery) -> bool:
        """Whether it arrived before the store was begun anew, or was under way then."""
        if not self._arrived:
            return False
        if self.now() >= self._recognised_until:
            self._arrived.clear()
            return False
        return _arrival_of(delivery) in self._arrived

    def minted(self, minting: Minting) -> None:
        """Keep an id that was handed out."""
        self._keep(minting, 2 * OTHER_BYTES)

    def remembered(self, memos: Iterable[Memo]) -> None:
        """Keep the withdrawals among memos that were kept."""
        for memo in memos:
            if memo.book == BOOK:
                self._keep(memo, 2 * OTHER_BYTES)

    def unheld(self, asked: Iterable[Unhold]) -> None:
        """Keep which events were released or cancelled."""
        for each in asked:
            self._keep(each, 2 * OTHER_BYTES)

    def _keep(self, told: Told, size: int) -> None:
        self._told.append((self.now(), size, told))
        self._bytes += size
        while self._bytes > self.max_bytes:
            self._count_unkept(int(self._drop_first()))

    def _count_unkept(self, second: int) -> None:
        if self._unkept and self._unkept[-1][0] == second:
            self._unkept[-1][1] += 1
        else:
            self._unkept.append([second, 1])

    @property
    def unkept(self) -> int:
        """How many were acknowledged within that time and dropped for want of room."""
        return sum(number for _, number in self._unkept)

    def _drop_first(self) -> float:
        told_at, size, _ = self._told.popleft()
        self._bytes -= size
        return told_at

    def same_servers(self) -> None:
        """The servers were just seen to be the same: what is older than `keep_for` has been copied or written."""
        before = self.now() - self.keep_for.total_seconds()
        while self._told and self._told[0][0] < before:
            self._drop_first()
        while self._unkept and self._unkept[0][0] < before - 1:
            self._unkept.popleft()

    def of(self, partitions: set[int], total: int) -> tuple[list[Kept], list[Minting], list[Ending]]:
        """What was told to some of all partitions, oldest first."""
        plans: list[Kept] = []
        mintings: list[Minting] = []
        endings: list[Ending] = []
        for _, _, told in self._told:
            if isinstance(told, bytes):
                kept = _decoder.decode(told)
                if partitions & _places_of(kept.source, (kept.event_id, kept.transaction), total):
                    plans.append(kept)
            elif isinstance(told, Arrived):
                if told.ending.partition in partitions:
                    endings.append(told.ending)
            elif isinstance(told, Minting) and partitions & _places_of(
                told.key.source, (told.event_id, told.key.transaction), total
            ):
                mintings.append(Minting(told.key, told.event_id, told.remember_until))
        return plans, mintings, endings

    def unholds(self, partitions: set[int], total: int) -> list[Unhold]:
        """Those that were told to some of all partitions, oldest first."""
        told = [each for _, _, each in self._told if isinstance(each, Unhold)]
        return [each for each in told if partitions & _places_of(each.event.source, (each.event.event_id,), total)]

    def withdrawals(self, partitions: set[int], total: int) -> list[Memo]:
        """Those that were told to some of all partitions, oldest first."""
        memos = [told for _, _, told in self._told if isinstance(told, Memo)]
        return [each for each in memos if place(each.book, each.name, total).partition in partitions]


def _places_of(source: str, texts: Iterable[str | None], total: int) -> set[int]:
    return {place_of(source, text, total).partition for text in texts if text is not None}


def _arrival_of(delivery: Delivery) -> Arrival:
    return delivery.key.queue, delivery.event_id, delivery.destination
