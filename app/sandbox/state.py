"""What the sandbox remembers: its clock, the events it took, what they count for, the requests it saw."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from app.sandbox.base import Arrival
from app.sandbox.counting import KEYS, Copy, Tally, money_text
from app.sandbox.faults import Script
from app.sandbox.google_side import GoogleSide

PLATFORM_NAMES = tuple(KEYS)


@dataclass(slots=True)
class Clock:
    """The sandbox clock: real time, or frozen at `now_s`; either moved by `offset_s`."""

    now_s: float | None = None
    offset_s: float = 0.0

    def read(self) -> float:
        """The present instant in epoch seconds."""
        return (time.time() if self.now_s is None else self.now_s) + self.offset_s


class Taken(NamedTuple):
    """One accepted event as it is kept; the body stays JSON text to save memory."""

    platform: str
    copy: Copy
    event_time_s: float
    at: float
    trace: str
    unknown: tuple[str, ...]
    body: bytes


class State:
    """All that changes while the sandbox runs.

    At most `keep_events` events are kept, and as many conversions per platform; `dropped` counts the
    events that had to go. Of the requests the last `keep_requests` are kept, their totals for good.
    """

    def __init__(self, keep_events: int = 200_000, keep_requests: int = 10_000) -> None:
        self.keep_events = keep_events
        self.keep_requests = keep_requests
        self.scripts: dict[str, Script] = {name: Script() for name in PLATFORM_NAMES}
        self._prefix = secrets.token_hex(5)
        self._serial = itertools.count(1)
        self.google = GoogleSide()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the fault scripts; the clock goes back to real time."""
        self.clock = Clock()
        self.received = 0
        self._taken: deque[Taken] = deque(maxlen=self.keep_events)
        self.tallies = {name: Tally(name, self.keep_events) for name in PLATFORM_NAMES}
        self.requests: deque[dict[str, Any]] = deque(maxlen=self.keep_requests)
        self._totals: dict[str, Counter[str]] = {}
        self.google.forget()

    @property
    def dropped(self) -> int:
        """How many accepted events are kept no longer."""
        return self.received - len(self._taken)

    def now(self) -> float:
        """The present instant by the sandbox clock."""
        return self.clock.read()

    def new_trace(self) -> str:
        """An id for one reply, unique in this process and very probably among all."""
        return f"A{self._prefix}{next(self._serial):010d}"

    def take(self, platform: str, arrivals: Iterable[Arrival], at: float, trace: str) -> None:
        """Keep and count the events of one accepted call."""
        tally = self.tallies[platform]
        for copy, event, event_time_s, unknown in arrivals:
            # a copy of the right size: the buffer that the encoder returns keeps its spare room
            body = bytes(memoryview(orjson.dumps(event)))
            self._taken.append(Taken(platform, copy, event_time_s, at, trace, unknown, body))
            self.received += 1
            tally.add(copy, at)

    def open_request(self, row: dict[str, Any]) -> dict[str, Any]:
        """Note a request that has arrived; its `status` stays null until it is answered."""
        self.requests.append(row)
        totals = self._totals.setdefault(row["platform"] or "other", Counter())
        totals["requests"] += 1
        totals["events"] += row["events"]
        if row["unexpected"]:
            totals["unexpected"] += 1
        if row["fault"]:
            totals[f"fault:{row['fault']}"] += 1
        return row

    def close_request(self, row: dict[str, Any], status: int | None, accepted: int) -> None:
        """Note how a request ended: the status that was sent, or None for a dropped connection."""
        row["status"], row["accepted"] = status, accepted
        totals = self._totals.setdefault(row["platform"] or "other", Counter())
        totals["accepted"] += accepted
        totals[f"status:{status or 'none'}"] += 1

    def totals(self) -> dict[str, Any]:
        """Totals of requests per platform, `other` for paths of none."""
        return {name: _as_totals(counter) for name, counter in self._totals.items()}

    def find(self, wanted: Mapping[str, str]) -> list[Taken]:
        """The kept events, oldest first, that equal all wanted values.

        `wanted` may hold platform, account, event_name, event_id and order_id.
        """
        platform = wanted.get("platform")
        rest = [(key, value) for key, value in wanted.items() if key != "platform"]
        return [
            taken
            for taken in self._taken
            if (platform is None or taken.platform == platform)
            and all(getattr(taken.copy, key) == value for key, value in rest)
        ]

    def counted(self, platform: str, *, summary: bool) -> dict[str, Any]:
        """What one platform would show: conversions and their money, after deduplication."""
        tally = self.tallies[platform]
        shown: dict[str, Any] = {
            "events": tally.events,
            "money": {currency: money_text(total) for currency, total in sorted(tally.money.items())},
            "forgotten": tally.forgotten,
        }
        if not summary:
            shown["conversions"] = [
                {
                    "account": conversion.account,
                    "event_name": conversion.event_name,
                    "event_id": conversion.event_id,
                    "order_id": conversion.facts.order_id,
                    "value": None if conversion.facts.value is None else money_text(conversion.facts.value),
                    "currency": conversion.facts.currency,
                    "sources": conversion.sources,
                    "copies": conversion.copies,
                    "test": conversion.test,
                }
                for conversion in tally.conversions
            ]
        return shown


def _as_totals(counter: Counter[str]) -> dict[str, Any]:
    def group(prefix: str) -> dict[str, int]:
        return {key[len(prefix) :]: n for key, n in counter.items() if key.startswith(prefix)}

    plain = {key: counter[key] for key in ("requests", "events", "accepted", "unexpected")}
    return {**plain, "statuses": group("status:"), "faults": group("fault:")}
