"""Tallies: a hash per book and day on the server of the store's own facts, deleted by the server.

{c:meta}:tallies:<book>:<day>    hash: key -> number, first and last instant in microseconds; spaces between
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from importlib import resources

from app.outbox.redis.link import META, Link
from app.outbox.redis.places import from_us, to_us
from app.outbox.tallies import KEPT_FOR, DayTallies, Tally

_ADD = (resources.files("app.outbox.redis") / "scripts" / "store" / "tally.lua").read_text("utf-8")
STEP = 500
"""How many keys go in one call: a script's arguments are bounded."""


def _key(book: str, day: date) -> str:
    return f"{META}:tallies:{book}:{day.isoformat()}"


class RedisTallies:
    """See `app.outbox.tallies.TallyStore` for what each method promises."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, book: str, tallies: DayTallies) -> None:
        """See `TallyStore.add`."""
        for day, counts in tallies.items():
            words = [
                word
                for key, tally in counts.items()
                for word in (key, tally.number, to_us(tally.first_at), to_us(tally.last_at))
            ]
            end_of_day = datetime.combine(day + timedelta(days=1), time(), UTC)
            kept_s = int((end_of_day + KEPT_FOR[book] - self._link.wall()).total_seconds())
            if kept_s <= 0:
                continue
            for start in range(0, len(words), 4 * STEP):
                some = words[start : start + 4 * STEP]
                await self._link.command("EVAL", _ADD, 2, META, _key(book, day), self._link.identity, kept_s, *some)

    async def read(self, book: str, since: date) -> DayTallies:
        """See `TallyStore.read`."""
        now = self._link.wall()
        since = max(since, (now - KEPT_FOR[book]).date())
        # A day that a process counted whose clock is ahead is read as well.
        last = now.date() + timedelta(days=1)
        found: dict[date, dict[str, Tally]] = {}
        for number in range((last - since).days + 1):
            day = since + timedelta(days=number)
            kept = await self._link.command("HGETALL", _key(book, day))
            if kept:
                found[day] = {key.decode(): _tally(packed) for key, packed in kept.items()}
        return found


def _tally(packed: bytes) -> Tally:
    number, first_at, last_at = map(int, packed.split(b" "))
    return Tally(number, from_us(first_at), from_us(last_at))
