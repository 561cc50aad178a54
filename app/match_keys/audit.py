"""The match-key audit: from tallies to coverage by day, and to a verdict in words with a next step. Pure.

Which key weighs how much is the platform's own word where it has one (`app.hashing.coverage`), strong keys first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from app.hashing.coverage import RULES, Key
from app.match_keys.keys import ABSENT, ANY, GIVEN, NAME, PRESENT, split_key
from app.outbox.tallies import DayTallies, Tally
from app.wire import ContextUser

ENOUGH = 20
"""Events from which on a day's coverage says something: of fewer, one alone moves it by more than five points."""
DROP = 0.1
"""How far coverage has to fall, as a share of the events, to be called a drop."""
LOW = {"strong": 0.8, "helpful": 0.2}
"""Below this coverage a key's absence is told of. A choice: no platform publishes a line."""
COSTLIEST = 4
"""Missing keys named in the words of one row."""
WEEK = 7


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the events that can have a key had it, and how many only by the context of the order."""

    events: int
    present: int
    given: int = 0

    @property
    def coverage(self) -> float | None:
        """The share that had it, 0 to 1; None without events."""
        return self.present / self.events if self.events else None

    @property
    def lift(self) -> float | None:
        """By how much contexts raised the coverage, 0 to 1; None without events."""
        return self.given / self.events if self.events else None


NONE = Share(0, 0)


@dataclass(frozen=True, slots=True)
class KeyCoverage:
    """One match key: its shares by day, newest first, and when an event last had it. All days asked for are there."""

    key: Key
    days: Mapping[date, Share]
    last_seen: datetime | None

    def on(self, day: date) -> Share:
        """The share of a day."""
        return self.days.get(day, NONE)

    def week_before(self, day: date) -> Share:
        """The seven days before, together."""
        shares = [self.on(day - timedelta(days=number)) for number in range(1, WEEK + 1)]
        return Share(sum(each.events for each in shares), sum(each.present for each in shares))


@dataclass(frozen=True, slots=True)
class Row:
    """One event name of one source at one destination; `keys` are in the platform's order of strength."""

    source: str
    event_name: str
    destination: str
    platform: str
    day: date
    events: Mapping[date, int]
    keys: Sequence[KeyCoverage]

    @property
    def baseline(self) -> tuple[date, str] | None:
        """The day to compare with, and what it is called: yesterday, else the same day last week; None for neither."""
        for back, called in ((1, "yesterday"), (WEEK, "a week ago")):
            day = self.day - timedelta(days=back)
            if self.events.get(day, 0) >= ENOUGH:
                return day, called
        return None

    def drops(self) -> list[KeyCoverage]:
        """The keys whose coverage fell since the day to compare with, the furthest first."""
        if self.baseline is None or self.events.get(self.day, 0) < ENOUGH:
            return []
        fallen = [(self._fall(each, self.baseline[0]), each) for each in self.keys]
        return [each for by, each in sorted(fallen, key=lambda pair: -pair[0]) if by >= DROP]

    def _fall(self, each: KeyCoverage, since: date) -> float:
        now, before = each.on(self.day).coverage, each.on(since).coverage
        return 0.0 if now is None or before is None else before - now

    def costliest(self) -> list[KeyCoverage]:
        """The keys whose absence costs most, in the platform's order of strength, the strong ones first."""
        low = [
            each
            for each in self.keys
            if (share := each.on(self.day).coverage) is not None and share < LOW[each.key.weight]
        ]
        return sorted(low, key=lambda each: each.key.weight != "strong")[:COSTLIEST]


def audit(
    tallies: DayTallies, day: date, days: int, platforms: Mapping[str, str], source: str | None = None
) -> list[Row]:
    """The audit of `day` and the days before it, `days` in all, of one source or of all.

    Rows are in order of source, event name and destination; `platforms` maps destinations to their types.
    """
    cells: defaultdict[tuple[str, str, str], dict[tuple[str, str], dict[date, Tally]]] = defaultdict(dict)
    span = [day - timedelta(days=number) for number in range(days)]
    for each in span:
        for key, tally in tallies.get(each, {}).items():
            of, event_name, destination, name, what = split_key(key)
            if source in {None, of} and destination in platforms:
                cells[of, event_name, destination].setdefault((name, what), {})[each] = tally
    return [_row(where, cell, platforms[where[2]], day, span) for where, cell in sorted(cells.items())]


def _row(
    where: tuple[str, str, str],
    cell: Mapping[tuple[str, str], Mapping[date, Tally]],
    platform: str,
    day: date,
    span: Sequence[date],
) -> Row:
    def number(name: str, what: str, on: date) -> int:
        tally = cell.get((name, what), {}).get(on)
        return tally.number if tally is not None else 0

    keys = []
    for key in RULES[platform].keys if platform in RULES else ():
        if (key.name, PRESENT) not in cell and (key.name, ABSENT) not in cell:
            continue  # no event could have had it
        shares = {}
        for each in span:
            present = number(key.name, PRESENT, each)
            shares[each] = Share(present + number(key.name, ABSENT, each), present, number(key.name, GIVEN, each))
        seen = [tally.last_at for tally in cell.get((key.name, PRESENT), {}).values()]
        keys.append(KeyCoverage(key, shares, max(seen, default=None)))
    events = {each: number(ANY, PRESENT, each) for each in span}
    return Row(*where, platform, day, events, keys)


@dataclass(frozen=True, slots=True)
class CustomName:
    """A custom event name that looks like a standard one, and the name to use. `total` counts events queued."""

    source: str
    event_name: str
    use: str
    total: Tally


def custom_names(tallies: DayTallies, source: str | None = None) -> list[CustomName]:
    """The custom names that look like standard ones, of one source or of all, the most frequent first."""
    sums: dict[tuple[str, str, str], Tally] = {}
    for counts in tallies.values():
        for key, tally in counts.items():
            of, event_name, _, use, what = split_key(key)
            if what == NAME and source in {None, of}:
                known = sums.get((of, event_name, use))
                sums[of, event_name, use] = tally if known is None else known + tally
    found = [CustomName(*where, total) for where, total in sums.items()]
    return sorted(found, key=lambda each: (-each.total.number, each.source, each.event_name))


def words(row: Row) -> str:
    """The verdict on one row: what fell, what is missing and costs most, and what to do about it."""
    what = f"{row.event_name} at {row.destination}"
    number = row.events.get(row.day, 0)
    if not number:
        return f"{what}: no event today"
    few = f" (only {number} event{'' if number == 1 else 's'} today: too few to compare)" if number < ENOUGH else ""
    drops = row.drops()
    parts = [_fallen(row, each) for each in drops]
    parts += [_missing(row, each) for each in row.costliest() if each not in drops]
    told = "; ".join(parts) or "every key that matters most is there"
    return f"{what}: {told}{few}{_lift(row)}"


def _lift(row: Row) -> str:
    """What contexts added, the most first."""
    lifted = [each for each in row.keys if each.on(row.day).given]
    if not lifted:
        return ""
    lifted.sort(key=lambda each: -each.on(row.day).given)
    told = ", ".join(f"{each.key.name} +{_percent(each.on(row.day).lift)}" for each in lifted)
    return f". The contexts of the orders added {told}"


def _fallen(row: Row, each: KeyCoverage) -> str:
    assert row.baseline is not None
    since, called = row.baseline
    now, before = each.on(row.day), each.on(since)
    fell = f"{each.key.name} {_percent(now.coverage)} ({called} {_percent(before.coverage)})"
    if now.present:
        return f"{fell}: a part of the events no longer carries it; {next_step(each.key)}"
    last = "" if each.last_seen is None else f", last seen {each.last_seen:%Y-%m-%d %H:%M} UTC"
    return f"{fell}: it is no longer sent{last}; {next_step(each.key)}"


def _missing(row: Row, each: KeyCoverage) -> str:
    return f"{each.key.name} {_percent(each.on(row.day).coverage)}: {each.key.cost}; {next_step(each.key)}"


def next_step(key: Key) -> str:
    """What to do so that events carry the key."""
    if any(part in _PAGE for need in key.needs for part in need.split("|")):
        return f"have the page pass {key.field}, best in the context call (PUT /v1/contexts/{{transaction_id}})"
    return f"have the backend send {key.field} with the event"


_PAGE = frozenset(ContextUser.model_fields)
"""What only the shopper's browser knows, and a context takes."""


def _percent(share: float | None) -> str:
    """A share in whole per cent; what is there is never shown as nothing, what is missing never as all."""
    value = 100 * (share or 0.0)
    if 0 < value < 1:
        return "<1 %"
    return ">99 %" if 99 < value < 100 else f"{value:.0f} %"
