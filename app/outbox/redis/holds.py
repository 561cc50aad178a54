"""What is held back released or cancelled.

An event is named by its id and its nonce, not by its number: a failover may give it another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from app.errors import Outcome, Reason
from app.outbox.port import Touched
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import blob, place_of
from app.outbox.redis.records import STATE_PENDING, STATES, EventKey, encode_why

AT_ONCE = 200
"""How many events one call of the script changes."""


class Unhold(NamedTuple):
    """One event's part in `release`, or in `cancel`."""

    event: EventKey
    is_cancel: bool


async def unhold(link: Link, asked: Sequence[Unhold]) -> list[Touched]:
    """What was touched of each event, in order, durably.

    Raises:
        StoreUnavailable: A server does not answer: some of it may have been done, and may be asked again.
    """
    groups: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
    places = [place_of(each.event.source, each.event.event_id, link.partitions) for each in asked]
    for position, each in enumerate(asked):
        groups[places[position].partition, each.is_cancel].append(position)
    parts: list[list[int]] = []
    calls: list[Call] = []
    for (partition, is_cancel), positions in groups.items():
        state = STATES[Outcome.WITHDRAWN] if is_cancel else STATE_PENDING
        why = blob(encode_why(Reason.CANCELLED if is_cancel else None, None, None))
        for start in range(0, len(positions), AT_ONCE):
            part = positions[start : start + AT_ONCE]
            events = [(places[position].field, asked[position].event.nonce) for position in part]
            parts.append(part)
            calls.append(Call("unhold", partition, encode((state, why, events))))
    touched = [Touched()] * len(asked)
    for part, reply in zip(parts, await link.all(calls, durable=True) if calls else (), strict=True):
        for position, (changed, in_flight) in zip(part, reply, strict=True):
            touched[position] = Touched(_names(changed), _names(in_flight))
    return touched


def _names(told: Sequence[bytes]) -> frozenset[str]:
    return frozenset(name.decode() for name in told)
