"""Keeps withdrawals, and asks for those of the persons in some events: one look-up for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.model import Delivery, HashedEvent, HashedIdentity, Plan, Settlement
from app.outbox.persons import Wanted, marks_of
from app.outbox.port import Memo, Memos
from app.withdrawal import (
    BOOK,
    KEPT_FOR,
    decode_instant,
    denied,
    encode_instant,
    ended,
    erasure_of,
    keys_of,
    mark_of,
    names_of,
    person_keys,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A withdrawal that is kept: for one destination or, where that is None, for all."""

    destination: str | None
    is_erasure: bool
    at: datetime


class Withdrawals:
    """The withdrawals of one store. `secret` is the store's own, so that its keys mean nothing elsewhere."""

    def __init__(self, memos: Memos, secret: bytes) -> None:
        self._memos = memos
        self._secret = secret

    async def keep(
        self,
        source: str,
        identity: HashedIdentity,
        destinations: Sequence[str],
        now: datetime,
        *,
        is_erasure: bool = False,
    ) -> int:
        """Keep a withdrawal durably, made now, for these destinations, or for all when none is named.

        An erasure is one for all, which says that it is more.

        Returns how many keys of the person it goes by; zero when the identity names nobody, and then nothing is kept.
        From the moment this returns no request is begun, by any process, that holds an event it stands against.

        Raises: StoreUnavailable.
        """
        keys = [key.hex() for key in person_keys(source, identity, self._secret)]
        names = [name for key in keys for name in (names_of(key, destinations)[1:] if destinations else [key])]
        if is_erasure:
            names += [erasure_of(key) for key in keys]
        value, until = encode_instant(now), now + KEPT_FOR
        names += [mark_of(key) for key in keys]
        if names:
            await self._memos.keep_memos([Memo(BOOK, name, value, until) for name in names])
        return len(keys)

    async def deny(self, plans: Sequence[Plan]) -> Sequence[Plan]:
        """The plans, in order, each without the destinations its person withdrew from.

        Raises: StoreUnavailable.
        """
        queued = [plan for plan in plans if plan.deliveries]
        destinations = {each.destination for plan in queued for each in plan.deliveries}
        keys, found = await self._of([plan.event for plan in queued], destinations)
        if not found:
            return plans
        persons = iter(keys)
        return [denied(plan, next(persons), found) if plan.deliveries else plan for plan in plans]

    async def end(self, deliveries: Sequence[Delivery]) -> Sequence[Settlement]:
        """The ends of those deliveries that a withdrawal stands against.

        Raises: StoreUnavailable.
        """
        destinations = {delivery.destination for delivery in deliveries}
        keys, found = await self._of([delivery.event for delivery in deliveries], destinations)
        return ended(deliveries, keys, found) if found else ()

    def wanted(self, source: str, identity: HashedIdentity) -> Wanted:
        """Whose events a scan looks for, to find all of this person's."""
        keys = frozenset(person_keys(source, identity, self._secret))

        def fits(event: HashedEvent) -> bool:
            return not keys.isdisjoint(person_keys(event.source, event.identity, self._secret))

        return Wanted(source, marks_of(sorted(keys)), fits)

    async def standing(self, source: str, identity: HashedIdentity, destinations: Sequence[str]) -> Sequence[Standing]:
        """What is kept of a person's withdrawals for all destinations, or for any of these; erasures among them.

        Raises: StoreUnavailable.
        """
        keys = [key.hex() for key in person_keys(source, identity, self._secret)]
        whose: dict[str, tuple[str | None, bool]] = dict.fromkeys(keys, (None, False))
        whose |= {erasure_of(key): (None, True) for key in keys}
        whose |= {name: (each, False) for each in destinations for key in keys for name in names_of(key, (each,))[1:]}
        kept = await self._memos.memos(BOOK, whose) if whose else {}
        found = {Standing(*whose[name], decode_instant(value)) for name, value in kept.items()}
        erased = {each.at for each in found if each.is_erasure}
        # What an erasure keeps as a withdrawal is a part of it.
        told = [each for each in found if each.is_erasure or each.destination is not None or each.at not in erased]
        return sorted(told, key=lambda each: (each.at, each.destination or ""))

    async def _of(
        self, events: Iterable[HashedEvent], destinations: Collection[str]
    ) -> tuple[list[tuple[str, ...]], Mapping[str, datetime]]:
        """The keys of each event's person, in order, and the withdrawals kept under any of them."""
        keys = keys_of(events, self._secret)
        marks = {mark_of(key): key for person in keys for key in person}
        marked = await self._memos.memos(BOOK, marks.keys()) if marks else {}
        if not marked:
            return keys, {}
        names = {name for mark in marked for name in names_of(marks[mark], destinations)}
        names |= {erasure_of(marks[mark]) for mark in marked}
        kept = await self._memos.memos(BOOK, names)
        return keys, {name: decode_instant(value) for name, value in kept.items()}
