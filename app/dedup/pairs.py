"""The two copies of an event, the page's and the server's, and whether a platform could tell that they are one. Pure.

A *sighting* is one side's report of an event under its id: the server's own (side `server`), made when an event of a
source with browser receipts is accepted, or a receipt of the page, one side for each platform whose pixel fired. The
sightings of one (source, event_id) are a *pair*. It is judged when it is due, and again when another side comes in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec

from app.event_names import canonical_name, label

SERVER = "server"
"""The side of the server's own copy; every other side is a platform, by the type of its destinations."""
CANCELLED = "cancelled"
"""The side that takes back the server's own at some destinations: the event was held back, and cancelled there."""
CONFLICT = "conflict:"
"""What the sides begin with that are no copies: another order that asked for this id, and was refused."""
MOST_CONFLICTS = 100
"""Sides of conflicts that are kept of one pair. A constant sent as the id of every order is found out long before."""
ID_REUSED = "conflict:id_reused"
OTHER_ID = "conflict:order_has_another_id"


class PairVerdict(StrEnum):
    """What became of the two copies of one event at one destination."""

    PAIRED = "paired"
    SERVER_ONLY = "server_only"
    BROWSER_ONLY = "browser_only"
    NAME_MISMATCH = "name_mismatch"
    VALUE_MISMATCH = "value_mismatch"


class Sighting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One side's report. `at` is when it happened there, `names` what the event is called at each destination.

    A receipt has its pixel's own name under its platform. `transaction` is known of the server's copy only.
    """

    at: datetime
    names: dict[str, str]
    currency: str | None = None
    value: Decimal | None = None
    transaction: str | None = None
    event_name: str = ""
    """The canonical name, of the server's copy only."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The sightings of one event, by side. `counted` is what it was last counted as (`tally`)."""

    source: str
    event_id: str
    sides: Mapping[str, Sighting]
    counted: Mapping[str, int]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sighting)


def encode_sighting(sighting: Sighting) -> bytes:
    """The bytes under which every store engine keeps a sighting."""
    return _encoder.encode(sighting)


def decode_sighting(body: bytes) -> Sighting:
    """The sighting in `body`, as `encode_sighting` wrote it."""
    return _decoder.decode(body)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a pair at one destination. `apart`: how long after the pixel fired the server copy was taken."""

    destination: str
    event_name: str
    verdict: PairVerdict
    apart: timedelta | None = None
    pixel_name: str | None = None


def judge(pair: Pair, platform_of: Mapping[str, str]) -> Iterator[Judgement]:
    """A judgement for each destination of the source, in their order, that any side says something about.

    `platform_of` maps the destinations of the source to their types.
    """
    server, cancelled = pair.sides.get(SERVER), pair.sides.get(CANCELLED)
    for destination, platform in platform_of.items():
        receipt = pair.sides.get(platform)
        own_name = server.names.get(destination) if server is not None else None
        if cancelled is not None and server is not None and cancelled.names.get(destination) == server.event_name:
            own_name = None
        if server is None or own_name is None:
            if receipt is not None:
                name = server.event_name if server is not None else canonical_name(receipt.names[platform])[0]
                yield Judgement(destination, name, PairVerdict.BROWSER_ONLY)
        elif receipt is None:
            yield Judgement(destination, server.event_name, PairVerdict.SERVER_ONLY)
        else:
            pixel_name = receipt.names[platform]
            verdict = PairVerdict.PAIRED
            if _folded(pixel_name) != _folded(own_name):
                verdict = PairVerdict.NAME_MISMATCH
            elif _differ(server, receipt):
                verdict = PairVerdict.VALUE_MISMATCH
            yield Judgement(destination, server.event_name, verdict, server.at - receipt.at, pixel_name)


def _folded(name: str) -> str:
    """A name without what a tag and an API of one platform spell differently (`addtocart`, `add_to_cart`)."""
    return name.replace("_", "").replace(" ", "").lower()


def _differ(server: Sighting, receipt: Sighting) -> bool:
    """Whether both say what it was worth, and not the same."""
    if receipt.value is None or server.value is None:
        return False
    return receipt.value != server.value or (
        receipt.currency is not None and receipt.currency.upper() != (server.currency or "").upper()
    )


DELAYS: tuple[tuple[timedelta, str], ...] = (
    (timedelta(minutes=5), "5m"),
    (timedelta(hours=1), "1h"),
    (timedelta(hours=24), "24h"),
    (timedelta(hours=48), "48h"),
)
"""Up to how far apart the copies were: TikTok merges within 5 minutes, all four drop the second one up to 48 hours."""
LATER = "later"
DELAY = "delay:"
NAME = "name:"


def delay_class(apart: timedelta) -> str:
    """The class of a delay, whichever copy came first."""
    return next((name for limit, name in DELAYS if abs(apart) <= limit), LATER)


def tally(pair: Pair, platform_of: Mapping[str, str]) -> dict[str, int]:
    """What a pair is counted as: keys made by `tally_key`, each with how many; the day is that of its first side."""
    counts: dict[str, int] = {}
    day = min(side.at for side in pair.sides.values()).date().isoformat()
    for told in judge(pair, platform_of):
        where = (day, pair.source, label(told.event_name), told.destination)
        counts[tally_key(*where, told.verdict)] = 1
        if told.apart is not None:
            counts[tally_key(*where, f"{DELAY}{delay_class(told.apart)}")] = 1
        if told.verdict is PairVerdict.NAME_MISMATCH and told.pixel_name is not None:
            counts[tally_key(*where, f"{NAME}{told.pixel_name}")] = 1
    for name, kind in conflicts(pair):
        key = tally_key(day, pair.source, label(name), "", kind)
        counts[key] = counts.get(key, 0) + 1
    return counts


def conflicts(pair: Pair) -> Iterator[tuple[str, str]]:
    """The event name and the kind of each conflict about this id: `ID_REUSED` or `OTHER_ID`."""
    server = pair.sides.get(SERVER)
    for name, side in pair.sides.items():
        if name.startswith(CONFLICT):
            yield side.event_name, ID_REUSED if server is not None else OTHER_ID


def change(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What has to be added to the counts so that a pair counts as `after` instead of as `before`."""
    keys = {*before, *after}
    return {key: after.get(key, 0) - before.get(key, 0) for key in keys if after.get(key, 0) != before.get(key, 0)}


def tally_key(day: str, source: str, event_name: str, destination: str, what: str) -> str:
    """The key of one count: a day (ISO date), a source, an event name, a destination, and what was counted."""
    return "\t".join((day, source, event_name, destination, what))


def split_key(key: str) -> tuple[str, str, str, str, str]:
    """The parts of a key that `tally_key` made."""
    day, source, event_name, destination, what = key.split("\t", 4)
    return day, source, event_name, destination, what
