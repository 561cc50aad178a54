"""How much waits in all partitions, as far as one process knows, and what is refused for want of room.

No partition knows of the others, so accept cannot look inside its script. Each process asks for the counts once a
second at the most, oftener while something is full, and adds what it has accepted itself since. A limit may thus be
exceeded by what the other processes accept within that second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from app.dedup.port import IdKey
from app.errors import Outcome, Status
from app.model import Accepted, IdRequest, Plan
from app.outbox.port import EventState
from app.outbox.redis import ids, journal
from app.outbox.redis.accept import Item
from app.outbox.redis.link import Link
from app.outbox.room import DELIVERY_BYTES, Full, Limits, Waiting

LOOK_S = 1.0
LOOK_WHEN_FULL_S = 0.05
_UNQUEUED = frozenset({Outcome.DENIED, Outcome.SKIPPED})


class Room:
    """What waits, and what fits."""

    def __init__(self, link: Link, limits: Limits) -> None:
        self._link = link
        self._limits = limits
        self._bounds = limits.deliveries is not None or bool(limits.destinations)
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self.waiting: Mapping[str, Waiting] = {}
        """As of the last look, with what this process has accepted since."""

    async def full(self) -> Full:
        """What has no room left.

        Raises:
            StoreUnavailable: A server does not answer.
        """
        if not self._bounds:
            return Full()
        full = self._limits.full(self.waiting)
        if self._is_old(LOOK_WHEN_FULL_S if full else LOOK_S):
            async with self._looking:
                if self._is_old(LOOK_WHEN_FULL_S if full else LOOK_S):  # nobody else looked while this one waited
                    self.learn(await self._link.everywhere("counts", []))
            full = self._limits.full(self.waiting)
        return full

    def _is_old(self, seconds: float) -> bool:
        return asyncio.get_running_loop().time() - self._looked_at > seconds

    def learn(self, partitions: Iterable[Sequence[bytes]]) -> None:
        """Take what the state counts of all partitions say."""
        numbers: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for fields in partitions:
            for field, value in zip(fields[::2], fields[1::2], strict=True):
                name, state, _, what = field.decode().rsplit("\t", 3)
                if state == "0" and what == "n":
                    numbers[name] = numbers.get(name, 0) + int(value)
                elif state == "0" and what == "b":
                    sizes[name] = sizes.get(name, 0) + int(value)
        self.waiting = {
            name: Waiting(number, sizes.get(name, 0) + number * DELIVERY_BYTES) for name, number in numbers.items()
        }
        self._looked_at = asyncio.get_running_loop().time()

    def forget(self) -> None:
        """Look again before anything else is taken: something waits that was not accepted here."""
        self._looked_at = float("-inf")

    def accepted(self, items: Sequence[Item], answers: Sequence[Accepted]) -> None:
        """Add what was just accepted."""
        if not self._bounds:
            return
        numbers: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for item, answer in zip(items, answers, strict=True):
            if answer.status is Status.ACCEPTED:
                size = len(item.encoded.basket) + DELIVERY_BYTES
                for planned in item.plan.deliveries:
                    numbers[planned.destination] += 1
                    sizes[planned.destination] += size
        waiting = dict(self.waiting)
        for name, number in numbers.items():
            kept = waiting.get(name, Waiting())
            waiting[name] = Waiting(kept.deliveries + number, kept.bytes + sizes[name])
        self.waiting = waiting

    async def fit(self, plans: Sequence[Plan], full: Full) -> Sequence[Plan]:
        """The plans as far as there is room for them. What was queued before needs none.

        Raises:
            StoreFull: One of them has to be refused, and with it all.
            StoreUnavailable: A server does not answer.
        """
        first, *rest = plans  # most often the first is refused, and nobody needs to look at the others
        return [await self._fitted(first, full), *await asyncio.gather(*(self._fitted(plan, full) for plan in rest))]

    async def _fitted(self, plan: Plan, full: Full) -> Plan:
        request = plan.id_request
        known = await self._known(request)
        fresh = {planned.destination for planned in plan.deliveries}
        if known is not None:
            has_both = known.transaction is not None and request.transaction is not None
            if has_both and known.transaction != request.transaction:
                return plan  # a conflict, which queues nothing
            fresh -= {name for name, state in known.destinations.items() if state.outcome not in _UNQUEUED}
        return full.fit(plan, fresh, self._limits.skipping, is_new=known is None)

    async def _known(self, request: IdRequest) -> EventState | None:
        event_id = request.asked
        if event_id is None and request.transaction is not None:
            key = IdKey(request.source, request.event_name, request.transaction, request.occurrence)
            minted = await ids.read(self._link, key)
            event_id = None if minted is None else minted.event_id
        found = await journal.by_id(self._link, event_id or request.derived, [request.source])
        return next((state for state in found if state.event_name == request.event_name), None)
