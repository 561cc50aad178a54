"""What is kept of persons, over all partitions: one after another is looked through, in short calls of a script."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from app.errors import Outcome, Reason
from app.outbox.persons import Trace, TracePage, Wanted
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import blob, place_of, to_us
from app.outbox.redis.proofs import RedisProofs
from app.outbox.redis.records import MARK_CHARS, encode_why, marks_text, sealed_in, story_of
from app.outbox.redis.squeeze import unsqueeze
from app.outbox.vault import Vault

LOOK_AT = 500
"""How many records one call of a script looks at: a millisecond or two of the server's, as a step of the sweep."""
STEP = 5_000
"""After how many of them a step of a scan ends."""
FOUND = 200
"""After how many events found it ends sooner."""
AT_ONCE = 100
"""Events that one call of a script ends or deletes."""


class Key(NamedTuple):
    """The `key` of a `Trace`. `nonce` tells its event from another that a failover gave the same number."""

    partition: int
    seq: str
    nonce: int


class _Place(NamedTuple):
    """Where a scan goes on: see `seek.lua`. `floor` -1 is the start of a partition."""

    partition: int
    floor: int = -1
    cursor: int | None = 0
    number: int = 0

    def __str__(self) -> str:
        cursor = "" if self.cursor is None else str(self.cursor)
        return f"{self.partition}.{self.floor}.{cursor}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> _Place:
        """Raises: ValueError."""
        partition, floor, cursor, number = text.split(".")
        place = cls(int(partition), int(floor), int(cursor) if cursor else None, int(number))
        if not (0 <= place.partition < 2**16 and -1 <= place.floor < 2**53 and 0 <= place.number < 2**53):
            raise ValueError("no place of an event")
        return place


class RedisPersons:
    """See `app.outbox.persons.PersonStore` for what each method promises."""

    def __init__(self, link: Link, proofs: RedisProofs, vault: Vault) -> None:
        self._link = link
        self._vault = vault
        self._proofs = proofs

    async def find(self, wanted: Wanted, after: str | None) -> TracePage:
        """See `PersonStore.find`."""
        place = _Place(0) if after is None else _Place.parse(after)
        marks = marks_text(wanted.marks)
        traces: list[Trace] = []
        looked_at = 0
        while place.partition < self._link.partitions and looked_at < STEP and len(traces) < FOUND:
            cursor = "" if place.cursor is None else str(place.cursor)
            payload = encode((LOOK_AT, marks, place.floor, cursor, place.number))
            ((is_over, *told, number, found),) = await self._link.all([Call("seek", place.partition, payload)])
            looked_at += number
            traces += await self._traces(place.partition, found, wanted)
            floor, cursor, last = (text.decode() for text in told)
            place = (
                _Place(place.partition + 1)
                if is_over
                else place._replace(floor=int(floor), cursor=int(cursor) if cursor else None, number=int(last))
            )
        is_last = place.partition >= self._link.partitions
        return TracePage(traces, None if is_last else str(place), looked_at)

    async def _traces(self, partition: int, found: Sequence[Any], wanted: Wanted) -> list[Trace]:
        traces = []
        marks = set(marks_text(wanted.marks))
        stories = [story_of(row) for row in found[::2]]
        await self._vault.get_to_know(sealed_in(each.body.raw for each in stories if each.body is not None))
        for story, claimed in zip(stories, found[1::2], strict=True):
            body = story.body
            event = None if body is None else self._vault.readable(body.basket, unsqueeze)
            carried = story.head.marks
            if carried is None:
                fits = event is not None and wanted.fits(event)
            else:
                fits = not marks.isdisjoint(
                    carried[start : start + MARK_CHARS] for start in range(0, len(carried), MARK_CHARS)
                )
            if fits and story.head.source == wanted.source:
                key = Key(partition, str(story.seq), story.nonce)
                traces.append(Trace(key, story.event_state(), event, frozenset(name.decode() for name in claimed)))
        return traces

    async def end(self, traces: Sequence[Trace], marks: Collection[bytes]) -> Counter[tuple[str, Outcome]]:
        """See `PersonStore.end`."""
        carried = "".join(marks_text(marks))
        why = blob(encode_why(Reason.ERASURE_REQUEST, None, None))
        ended: Counter[tuple[str, Outcome]] = Counter()
        for partition, some in _some([(trace.key.partition, trace) for trace in traces]):
            payload = encode((why, carried, *((trace.key.seq, trace.key.nonce) for trace in some)))
            (told,) = await self._link.all([Call("erase", partition, payload)], durable=True)
            for name, was in zip(told[::2], told[1::2], strict=True):
                ended[name.decode(), Outcome.DEAD if was else Outcome.QUEUED] += 1
        return ended

    async def forget(self, traces: Sequence[Trace], settled_by: datetime) -> Counter[str]:
        """See `PersonStore.forget`. The event itself goes last: what is cut short is found again."""
        resting = [trace for trace in traces if trace.has_come_to_rest(settled_by)]
        forgotten: Counter[str] = Counter()
        orders = {(each.state.source, each.state.transaction) for each in resting if each.state.transaction is not None}
        places = [place_of(source, transaction or "", self._link.partitions) for source, transaction in orders]
        for partition, fields in _some([(place.partition, place.field) for place in places]):
            ((ids, contexts),) = await self._link.all([Call("unlink", partition, encode(fields))], durable=True)
            forgotten += Counter(event_ids=ids, contexts=contexts)
        for partition, some in _some([(trace.key.partition, trace) for trace in resting]):
            items = [
                (trace.key.seq, trace.key.nonce, place_of(trace.state.source, trace.state.event_id, 1).field)
                for trace in some
            ]
            payload = encode((to_us(settled_by), *items))
            ((events, pairs),) = await self._link.all([Call("bury", partition, payload)], durable=True)
            forgotten += Counter(events=events, pairs=pairs)
        return forgotten

    async def forget_proofs(self, traces: Sequence[Trace]) -> int:
        """See `PersonStore.forget_proofs`."""
        gone = 0
        for trace in traces:
            gone += await self._proofs.forget(trace.state)
        return gone


def _some(items: Sequence[tuple[int, Any]]) -> list[tuple[int, list[Any]]]:
    """The items of each partition, so many at a time."""
    groups: defaultdict[int, list[Any]] = defaultdict(list)
    for partition, item in items:
        groups[partition].append(item)
    return [
        (partition, those[start : start + AT_ONCE])
        for partition, those in groups.items()
        for start in range(0, len(those), AT_ONCE)
    ]
