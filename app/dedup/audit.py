"""The dedup audit: from the counts of pairs to a table, and to a verdict in words. Pure.

The words say what usually lies behind each kind of unpaired copy, so that whoever reads them knows where to look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from app.dedup.pairs import DELAY, DELAYS, ID_REUSED, NAME, OTHER_ID, PairVerdict, split_key

FEW = 5
"""Names listed in the words of one row."""
SOON = frozenset(name for limit, name in DELAYS if limit <= timedelta(hours=1))
"""The delays that nobody need look at: a backend that posts later than that is late for some rule or other."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event name of one source at one destination, over the days asked for.

    `verdicts` has every `PairVerdict`. `delays` are counts by class of how far apart the copies were, `pixel_names`
    what mismatched pixels called the event.
    """

    source: str
    event_name: str
    destination: str
    verdicts: Mapping[str, int]
    delays: Mapping[str, int] = field(default_factory=dict)
    pixel_names: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many events were judged."""
        return sum(self.verdicts.values())

    @property
    def pair_rate(self) -> float | None:
        """The share of events whose two copies a platform recognises as one; None when there were none."""
        paired = self.verdicts[PairVerdict.PAIRED] + self.verdicts[PairVerdict.VALUE_MISMATCH]
        return paired / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Events refused because their id and their order do not belong together, by source and event name."""

    source: str
    event_name: str
    id_reused: int
    order_has_another_id: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of pairs: rows in order of source, event name and destination."""

    rows: Sequence[Row]
    conflicts: Sequence[Conflicts]


def audit(tallies: Mapping[str, int], first_day: str, last_day: str, source: str | None = None) -> Audit:
    """The audit of the days from `first_day` to `last_day` (ISO dates, both included), of one source or of all."""
    cells: defaultdict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for key, number in tallies.items():
        day, of, event_name, destination, what = split_key(key)
        if first_day <= day <= last_day and source in {None, of}:
            cell = cells[of, event_name, destination]
            cell[what] = cell.get(what, 0) + number
    rows = [_row(where, counts) for where, counts in sorted(cells.items()) if where[2]]
    conflicts = [
        Conflicts(of, event_name, counts.get(ID_REUSED, 0), counts.get(OTHER_ID, 0))
        for (of, event_name, destination), counts in sorted(cells.items())
        if not destination and any(counts.values())
    ]
    return Audit([row for row in rows if row.total], conflicts)


def _row(where: tuple[str, str, str], counts: Mapping[str, int]) -> Row:
    return Row(
        *where,
        {verdict.value: counts.get(verdict, 0) for verdict in PairVerdict},
        {what.removeprefix(DELAY): number for what, number in counts.items() if what.startswith(DELAY) and number},
        {what.removeprefix(NAME): number for what, number in counts.items() if what.startswith(NAME) and number},
    )


_MEANING = {
    PairVerdict.SERVER_ONLY: "server-only: the pixel was blocked, never fired or was not reported, "
    "which is what the server copy is for",
    PairVerdict.BROWSER_ONLY: "browser-only: the backend posts late, not at all, or the server copy was refused",
    PairVerdict.NAME_MISMATCH: "name mismatch: both copies count",
    PairVerdict.VALUE_MISMATCH: "paired with another value or currency: the first copy to arrive decides which is kept",
}


def words(row: Row) -> str:
    """The verdict on one row in a sentence: shares in whole per cent, the greatest first, and what each means."""
    if row.pair_rate is None:
        return f"{row.event_name}: nothing to compare"
    parts = [f"{_percent(row.verdicts[PairVerdict.PAIRED], row.total)} paired"]
    if apart := sum(number for name, number in row.delays.items() if name not in SOON):
        parts[0] += f" ({_percent(apart, row.total)} with more than an hour between the copies)"
    others = sorted(_MEANING, key=lambda verdict: -row.verdicts[verdict])
    for verdict in others:
        if number := row.verdicts[verdict]:
            part = f"{_percent(number, row.total)} {_MEANING[verdict]}"
            if verdict is PairVerdict.NAME_MISMATCH and row.pixel_names:
                named = sorted(row.pixel_names, key=lambda name: (-row.pixel_names[name], name))[:FEW]
                part += f"; the pixel says {', '.join(named)}"
            parts.append(part)
    return f"{row.event_name} at {row.destination}: " + ". ".join(parts)


def _percent(number: int, total: int) -> str:
    """A share; what is there is never shown as nothing."""
    share = 100 * number / total
    return "<1 %" if 0 < share < 1 else f"{share:.0f} %"
