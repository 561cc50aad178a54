"""The ledger's self-check over all partitions: each compares its counts with what it holds, in one short call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

from app.outbox.recount import DEAD, PENDING, PURGED, Difference, Place, Recount, Sum, compare, merged
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.records import MILLION, STATE_PENDING, STATE_PURGED

READ_AT_ONCE = 2_000
"""Deliveries of one destination in one partition whose money is added up: reading them holds the server up. Where more
are pending or dead, only their number is compared."""
_STATES = {str(STATE_PENDING): PENDING, "2": DEAD, str(STATE_PURGED): PURGED}


async def recount(link: Link, destinations: Collection[str]) -> Recount:
    """See `Outbox.recount`: partition by partition, each as of one instant.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    names = sorted(destinations)
    payload = encode((READ_AT_ONCE, names))
    number = unread = 0
    differences: list[Difference] = []
    for partition in range(link.partitions):
        ((fields, *rows),) = await link.all([Call("recount", partition, payload)])
        counted = _counted(fields)
        for name, (pending, dead, is_read, told) in zip(names, rows, strict=True):
            number += pending + dead
            unread += 0 if is_read else pending + dead
            stored = (
                _stored(name, told) if is_read else {(name, PENDING, ""): Sum(pending), (name, DEAD, ""): Sum(dead)}
            )
            own = {place: held for place, held in counted.items() if place[0] == name}
            differences += compare(own, stored, with_money=bool(is_read))
    return Recount(number, merged(differences), unread)


def _counted(fields: Sequence[bytes]) -> dict[Place, Sum]:
    sums: dict[Place, Sum] = {}
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        name, state, currency, what = field.decode().rsplit("\t", 3)
        if state not in _STATES or what == "b":
            continue
        held = sums.setdefault((name, _STATES[state], currency), Sum())
        if what == "n":
            held.deliveries += int(value)
        else:
            held.amount += Decimal(int(value)) / (1 if what == "u" else MILLION)
    return sums


def _stored(name: str, told: Sequence[Any]) -> dict[Place, Sum]:
    groups = zip(told[::5], told[1::5], told[2::5], told[3::5], told[4::5], strict=True)
    return {
        (name, _STATES[state.decode()], currency.decode()): Sum(
            int(number), Decimal(int(units)) + Decimal(int(millionths)) / MILLION
        )
        for state, currency, number, units, millionths in groups
    }
