"""What a store promises about tallies: small counts by day that audits read. Statistics, kept beside the ledger.

A tally says how often something was seen on a day (UTC), first and last when. Processes count in memory and add what
they counted every few seconds (`app.tallying`), so a crash loses that much; and where a store fails in the middle of
an addition, it may come twice. Nothing that has to add up is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

MATCH_KEYS = "match_keys"
REJECTS = "rejects"
KEPT_FOR: Mapping[str, timedelta] = {MATCH_KEYS: timedelta(days=35), REJECTS: timedelta(days=7)}
"""How long the tallies of each book are kept after the end of their day: part of what is forgotten by time alone."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was seen, and first and last when. Instants are aware UTC."""

    number: int
    first_at: datetime
    last_at: datetime

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.number + other.number, min(self.first_at, other.first_at), max(self.last_at, other.last_at))


DayTallies = Mapping[date, Mapping[str, Tally]]
"""Tallies by day, then by key. What a key means is its book's."""


class TallyStore(Protocol):
    """Keeps tallies by book (one of `KEPT_FOR`), day and key. Every process of the store adds to the same."""

    async def add(self, book: str, tallies: DayTallies) -> None:
        """Add to what is kept. Not waited for as an event is: what a server loses in a failover is lost.

        Raises: StoreUnavailable; some of it may have been added nevertheless.
        """

    async def read(self, book: str, since: date) -> DayTallies:
        """Every tally of a book from that day on.

        Raises: StoreUnavailable.
        """
