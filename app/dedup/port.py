"""The id registry: which event_id an event has, whoever asks first, and which sides reported it under that id."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

TALLIES_KEPT = timedelta(days=400)
"""How long the counts of a day are kept."""
PAIR_RETENTION = timedelta(days=7)
"""How long after a report it is kept which sides reported an event.

Shorter than some platforms pair (Snapchat 30 days for purchases, Google as long as its conversion window): of an older
event nobody knows any more whether a pixel reported it.
"""


@dataclass(frozen=True, slots=True)
class IdKey:
    """What an event_id belongs to: (source, canonical event name, transaction key, occurrence)."""

    source: str
    event_name: str
    transaction: str
    occurrence: str | None = None


@dataclass(frozen=True, slots=True)
class MintedId:
    """The id of a key. `is_new` says that this call minted it; `remember_until` when it may be forgotten."""

    event_id: str
    is_new: bool
    remember_until: datetime


@dataclass(frozen=True, slots=True)
class KeptContext:
    """The context of one order, as bytes (`app.dedup.context`), and the instant from which it may be forgotten."""

    source: str
    transaction: str
    body: bytes
    until: datetime


class IdStore(Protocol):
    """Remembers ids and contexts. `Outbox.accept` uses the same store within its own transaction."""

    async def mint(self, key: IdKey, event_id: str, remember_until: datetime) -> MintedId:
        """The id of `key`: the one minted or accepted earlier, else `event_id`, now remembered durably.

        Atomic under any race: every caller gets the same id.

        Raises: StoreUnavailable.
        """

    async def read(self, key: IdKey) -> MintedId | None:
        """The id of `key`, or None when none is remembered."""

    async def keep_contexts(self, contexts: Sequence[KeptContext]) -> None:
        """Keep these durably, each in place of an earlier one of its order.

        Raises: StoreUnavailable.
        """

    async def contexts(self, source: str, transactions: Collection[str]) -> Mapping[str, bytes]:
        """The contexts kept for these orders of one source, by transaction; those that have none are absent.

        Raises: StoreUnavailable.
        """


@dataclass(frozen=True, slots=True)
class SideReport:
    """One side's sighting of an event, as bytes (`app.dedup.pairs`)."""

    source: str
    event_id: str
    side: str
    body: bytes


@dataclass(frozen=True, slots=True)
class DuePair:
    """A pair that is to be judged. `sides` by name, `counted` as it was counted last; `version` guards the judging."""

    source: str
    event_id: str
    sides: Mapping[str, bytes]
    counted: Mapping[str, int]
    version: int


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """What a pair counts as from now on, in place of what it counted as before."""

    pair: DuePair
    counts: Mapping[str, int]


class PairStore(Protocol):
    """Remembers which sides reported an event, and the counts of what became of such pairs."""

    async def report(self, reports: Sequence[SideReport], due_at: datetime, until: datetime) -> int:
        """Keep the first report of each side, durably; returns how many were new.

        Of a pair's conflicts (`app.dedup.pairs.CONFLICT`) only the first `MOST_CONFLICTS` are kept: what one id costs
        has a bound, however many orders ask for it.

        A pair is due at `due_at` when it is new, and at once when a side joins one that was judged before. It is
        forgotten after `until`, reckoned from its first report; its counts stay.

        Raises: StoreUnavailable.
        """

    async def sides(self, source: str, event_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """The sides that reported these events, by event_id; events nobody reported are absent.

        Raises: StoreUnavailable.
        """

    async def due_pairs(self, limit: int) -> Sequence[DuePair]:
        """Pairs that are due, the longest due first. Several callers may be given the same.

        Raises: StoreUnavailable.
        """

    async def count_pairs(self, judged: Sequence[JudgedPair]) -> Sequence[bool]:
        """Count each pair as judged instead of as before, if nothing happened to it since; returns which were.

        One atomic step for each: a pair is counted once, whoever judges it and however often.

        Raises: StoreUnavailable.
        """

    async def tallies(self) -> Mapping[str, int]:
        """Every count that is not zero, by key (`app.dedup.pairs.tally_key`).

        Raises: StoreUnavailable.
        """
