"""What was refused at the door, counted by where the fault lies and what it is. Pointers and codes, never a value.

A pointer is kept in its *shape*: a position in a list becomes `*`, and so does every key that is no field of an event,
as a caller may have made it of anything, a person's name included. So the pointers there can be are few, whatever is
posted, and nobody can fill the store with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache

from pydantic import BaseModel

from app.errors import Fault
from app.event_names import canonical_name, label
from app.outbox.tallies import REJECTS, DayTallies, Tally
from app.tallying import Tallies
from app.wire import AppData, Consent, Content, CustomData, Event, UserData

ANYTHING = "*"
REQUEST = "request"
"""Stands in place of an event's name where a whole request was refused; the code is then the problem's."""
UNNAMED = "unknown"
"""Stands in place of the name of an event that had none."""
MOST_PARTS = 8
_MODELS: tuple[type[BaseModel], ...] = (Event, UserData, Consent, AppData, CustomData, Content)
_FIELDS = frozenset(name for model in _MODELS for name in model.model_fields)


@lru_cache(maxsize=4096)
def shape_of(pointer: str) -> str:
    """A JSON pointer into an event without positions and without keys of the caller's own."""
    parts = pointer.split("/")[1 : MOST_PARTS + 1]
    return "".join(f"/{part if part in _FIELDS else ANYTHING}" for part in parts)


class Rejects:
    """The count of one process."""

    def __init__(self, tallies: Tallies, now: Callable[[], datetime]) -> None:
        self._tallies = tallies
        self._now = now

    def count(self, source: str, rejected: Iterable[tuple[str, Sequence[Fault]]]) -> None:
        """Count invalid events by their faults, once for each kind; `rejected` has their names, empty for none."""
        numbers = Counter(
            (source, *kind, label(canonical_name(name)[0]) if name else UNNAMED)
            for name, faults in rejected
            for kind in {(shape_of(fault.pointer), fault.code) for fault in faults}
        )
        now = self._now()
        for key, number in numbers.items():
            self._tallies.count(REJECTS, "\t".join(key), Tally(number, now, now))

    def count_request(self, source: str | None, problem: str) -> None:
        """Count a request that was refused as a whole; `source` is None where no key said whose it was."""
        now = self._now()
        self._tallies.count(REJECTS, "\t".join((source or "", "", problem, REQUEST)), Tally(1, now, now))


@dataclass(frozen=True, slots=True)
class Reject:
    """One kind of fault of one source. `event_names` says how many events of each name had it."""

    source: str
    pointer: str
    code: str
    total: Tally
    today: int
    event_names: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_request(self) -> bool:
        """Whether it was whole requests that were refused."""
        return REQUEST in self.event_names


def rejects(tallies: DayTallies, today: date, source: str | None = None) -> list[Reject]:
    """What was refused, of one source or of all, the most frequent first."""
    cells: dict[tuple[str, str, str, bool], list[tuple[date, str, Tally]]] = {}
    for day, counts in tallies.items():
        for key, tally in counts.items():
            of, pointer, code, name = key.split("\t")
            if source in {None, of}:
                cells.setdefault((of, pointer, code, name == REQUEST), []).append((day, name, tally))
    found = []
    for (of, pointer, code, _), parts in cells.items():
        names: Counter[str] = Counter()
        for _, name, tally in parts:
            names[name] += tally.number
        total = Tally(
            sum(tally.number for _, _, tally in parts),
            min(tally.first_at for _, _, tally in parts),
            max(tally.last_at for _, _, tally in parts),
        )
        of_today = sum(tally.number for day, _, tally in parts if day == today)
        found.append(Reject(of, pointer, code, total, of_today, dict(names.most_common())))
    return sorted(found, key=lambda each: (-each.total.number, each.source, each.pointer, each.code))
