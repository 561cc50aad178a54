"""Accepting plans: the id of each is reserved where its transaction lies, then it is queued where its id lies.

A reservation is tentative until its event is queued. An id that turns out to belong to another transaction gives its
reservation back; one whose accept died on the way is dropped by a later accept that finds it a minute old and no event
under it. The event's script refuses a reservation older than half a minute, so that the two can never cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from app.errors import Status, StoreUnavailable
from app.model import Accepted, Plan, Verdict
from app.outbox.port import verdict_of
from app.outbox.redis import plans, proofs
from app.outbox.redis.link import Link
from app.outbox.redis.places import place_of, to_seconds
from app.outbox.redis.records import Story, forgotten_states, story_of
from app.outbox.vault import Vault

ROUNDS = 8
"""How often a plan is tried against others that change what it found."""
NEW, KEPT, OTHER, STALE = 1, 2, 3, 4
TENTATIVE, FIRM = 0, 1
ADDED, MORE, DUPLICATE, CONFLICT, FOREIGN, LATE = 1, 2, 3, 4, 5, 6
ABANDONED_AFTER_S = 60


class Reserved(msgspec.Struct, array_like=True, frozen=True):
    """What the registry says of a transaction. `until`, `made` and `now` are in seconds."""

    code: int
    event_id: str
    until: int
    made: int
    kind: int
    now: int


_reserved = msgspec.msgpack.Decoder(list[Reserved])


@dataclass(slots=True)
class Item:
    """One plan on its way. Everything that can fail for its own sake has been done when it is made."""

    plan: Plan
    encoded: plans.Encoded
    drop: tuple[str, str] | None = None
    keep: str | None = None
    reserved: Reserved | None = None
    answer: Accepted | StoreUnavailable | None = field(default=None)

    @classmethod
    def of(cls, plan: Plan, vault: Vault) -> Item:
        """A plan, encoded.

        Raises:
            ValueError, TypeError, OverflowError: There is something in it that cannot be kept.
        """
        return cls(plan, plans.encode_plan(plan, vault))

    @property
    def event_id(self) -> str:
        """The id that counts, as far as it is known."""
        request = self.plan.id_request
        if request.asked is not None:
            return request.asked
        return self.reserved.event_id if self.reserved is not None else request.derived

    @property
    def is_own_id(self) -> bool:
        """Whether the id is the caller's or the derived one, and not from the registry."""
        request = self.plan.id_request
        return request.asked is not None or self.event_id == request.derived


def reservation(item: Item, partitions: int, *, is_undo: bool = False) -> tuple[int, Any]:
    """What `reserve.lua` is asked for a plan."""
    request = item.plan.id_request
    assert request.transaction is not None
    place = place_of(request.source, request.transaction, partitions)
    return place.partition, (
        place.field,
        request.source,
        request.event_name,
        request.occurrence or False,
        False if is_undo else request.asked or request.derived,
        request.asked is not None,
        to_seconds(request.remember_until),
        False,
        request.send_conflicts,
        item.drop or False,
        item.keep or False,
    )


def acceptance(item: Item, partitions: int, proof_retention: timedelta) -> tuple[int, Any]:
    """What `accept.lua` is asked for a plan."""
    request = item.plan.id_request
    place = place_of(item.plan.id_request.source, item.event_id, partitions)
    reserved = item.reserved
    is_other_id = reserved is not None and reserved.code == OTHER
    reserved_s = 0 if reserved is None else reserved.now
    asked = plans.acceptance(item.plan, item.encoded, item.event_id, place.field, reserved_s, is_other_id=is_other_id)
    key = request.source, request.event_name, item.event_id
    proof = proofs.told(item.plan.proof, key, place, partitions, proof_retention)
    return place.partition, (*asked, *proof, item.encoded.held)


async def accept(link: Link, items: Sequence[Item]) -> list[Accepted | StoreUnavailable]:
    """One answer per plan, in order, each durable."""
    waiting: list[Item] = list(items)
    for _ in range(ROUNDS):
        suspects = await _reserve(link, [item for item in waiting if item.plan.id_request.transaction is not None])
        held_back = {id(item) for item in suspects}
        await _queue(link, [item for item in waiting if item.answer is None and id(item) not in held_back])
        await _verify(link, suspects)
        waiting = [item for item in waiting if item.answer is None]
        if not waiting:
            break
    contended = StoreUnavailable("an id is contended by too many at once")
    return [item.answer if item.answer is not None else contended for item in items]


async def _reserve(link: Link, items: Sequence[Item]) -> list[Item]:
    """Resolve ids; returns the plans whose id must be looked into before anything is queued."""
    if not items:
        return []
    asked = [reservation(item, link.partitions) for item in items]
    told = await link.scatter("reserve", asked, _reserved.decode, durable=True)
    suspects = []
    for item, reserved in zip(items, told, strict=True):
        if isinstance(reserved, StoreUnavailable):
            item.answer = reserved
            continue
        item.reserved = reserved
        item.drop = item.keep = None
        is_other = reserved.code == OTHER and not item.plan.id_request.send_conflicts
        if reserved.code == STALE or is_other:
            suspects.append(item)
    return suspects


async def _queue(link: Link, items: Sequence[Item]) -> None:
    if not items:
        return
    asked = [acceptance(item, link.partitions, link.proof_retention) for item in items]
    told = await link.scatter("accept", asked, lambda reply: reply, durable=True)
    undone = []
    for item, taken in zip(items, told, strict=True):
        if isinstance(taken, StoreUnavailable):
            item.answer = taken
            continue
        code, story, forgotten = taken
        if code == LATE:
            continue
        if code == FOREIGN and item.reserved is not None and item.reserved.kind == TENTATIVE:
            item.drop = (item.event_id, "f")
            if not item.is_own_id:
                continue  # the registry was wrong: once more without it
            undone.append(item)
        item.answer = _answer(item, code, story, forgotten)
    if undone:
        undo = [reservation(item, link.partitions, is_undo=True) for item in undone]
        await link.scatter("reserve", undo, _reserved.decode, durable=True)


def _answer(item: Item, code: int, story: Sequence[Any], forgotten: Sequence[bytes]) -> Accepted:
    if code in {CONFLICT, FOREIGN}:
        return Accepted(item.event_id, Status.CONFLICT, {})
    if code == ADDED:
        return Accepted(item.event_id, Status.ACCEPTED, item.plan.verdicts)
    before = forgotten_states(forgotten) | (story_of(story).states() if story else {})
    verdicts: dict[str, Verdict] = dict(item.plan.verdicts)
    verdicts |= {name: verdict_of(state) for name, state in before.items() if name in verdicts}
    return Accepted(item.event_id, Status.ACCEPTED if code == MORE else Status.DUPLICATE, verdicts)


async def _verify(link: Link, items: Sequence[Item]) -> None:
    """Look at the event under the id the registry names: is it there, is it that transaction's, is it remembered?"""
    if not items:
        return
    asked = []
    for item in items:
        assert item.reserved is not None
        place = place_of(item.plan.id_request.source, item.reserved.event_id, link.partitions)
        asked.append((place.partition, place.field))
    told = await link.scatter("look", asked, stories_of)
    for item, stories in zip(items, told, strict=True):
        if isinstance(stories, StoreUnavailable):
            item.answer = stories
        else:
            _judge(item, stories)
        item.reserved = None if item.answer is None else item.reserved


def stories_of(reply: Sequence[Any]) -> list[list[Story]]:
    """The events in an answer of `look.lua`, per item."""
    return [[story_of(row) for row in found] for found in reply]


def _judge(item: Item, stories: Sequence[Story]) -> None:
    """Decide what a plan does about a registry entry that is forgotten, or names another id than the one asked for."""
    request, reserved = item.plan.id_request, item.reserved
    assert reserved is not None
    live = [
        story
        for story in stories
        if story.is_of(request.source, request.event_name, reserved.event_id) and story.is_live(reserved.now)
    ]
    is_there = any(story.belongs_to(request.transaction, request.occurrence) for story in live)
    if reserved.code == STALE:
        item.keep = reserved.event_id if is_there else None
        item.drop = None if is_there else (reserved.event_id, "s")
        return
    is_foreign = any(story.head.transaction for story in live)
    is_abandoned = reserved.now - reserved.made > ABANDONED_AFTER_S
    if not is_there and reserved.kind != FIRM and (is_foreign or is_abandoned):
        item.drop = (reserved.event_id, "f" if is_foreign else "a")
        return
    item.answer = Accepted(item.event_id, Status.CONFLICT, {})
