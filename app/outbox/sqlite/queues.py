"""The queues of each lane: where they are kept, what is ready in them, and taking from them by shares."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import orjson

from app.outbox.shares import Choice, Group, Queue, divide, split_ends

BULK, HELD = 1, 2
"""What the column `bulk` says of a queue; 0 is live."""

_FIRST = """
SELECT q.id, (SELECT ready_at FROM deliveries WHERE queue = q.id AND state = 0 ORDER BY ready_at LIMIT 1) AS first
FROM queues AS q WHERE q.lane = ?1 AND q.event_name NOT IN (SELECT value FROM json_each(?2))
"""
_READY_COLUMNS = """
SELECT ready_at, event, attempts + (token IS NOT NULL),
  CASE WHEN token IS NULL THEN unsure_since ELSE coalesce(unsure_since, claimed_at) END,
  limited, window_until, pair_until, repeat_for, unknown_answers, queue
FROM deliveries WHERE queue = ? AND state = 0 AND ready_at <= ?
"""
# A token that is still there belongs to a claim that nobody ended: its attempt counts, and its end is unknown.


class Queues:
    """The numbers of the queues: as they are on disk, and as the open transaction adds to them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._kept: dict[tuple[int, Queue], int] = {
            (lane, Queue(source, event_name, bulk == BULK, bulk == HELD)): number
            for number, lane, source, event_name, bulk in connection.execute(
                "SELECT id, lane, source, event_name, bulk FROM queues"
            )
        }
        self._names = {number: key for key, number in self._kept.items()}
        self._staged: dict[tuple[int, Queue], int] = {}

    def number(self, connection: sqlite3.Connection, lane: int, queue: Queue) -> int:
        """The number of a queue, made in the open transaction where it is new."""
        key = (lane, queue)
        known = self._kept.get(key) or self._staged.get(key)
        if known is None:
            known = self._staged[key] = int(
                connection.execute(
                    "INSERT INTO queues (lane, source, event_name, bulk) VALUES (?, ?, ?, ?) RETURNING id",
                    (lane, queue.source, queue.event_name, HELD if queue.is_held else int(queue.is_bulk)),
                ).fetchone()[0]
            )
            self._names[known] = key
        return known

    def bulk_twin(self, connection: sqlite3.Connection, number: int) -> int:
        """The queue in which the deliveries of queue `number` wait as bulk."""
        lane, queue = self._names[number]
        return self.number(connection, lane, Queue(queue.source, queue.event_name, is_bulk=True))

    def live_twin(self, connection: sqlite3.Connection, number: int) -> int:
        """The queue in which the deliveries of queue `number` wait once they are released."""
        lane, queue = self._names[number]
        return self.number(connection, lane, Queue(queue.source, queue.event_name))

    def is_held(self, number: int) -> bool:
        """Whether what waits in a queue is held back."""
        return self._names[number][1].is_held

    def group(self, number: int) -> Group:
        """Whose share of a claim a queue draws on."""
        _, queue = self._names[number]
        return Group(queue.is_bulk, queue.source)

    def commit(self) -> None:
        """The transaction is durable."""
        self._kept |= self._staged
        self._staged.clear()

    def rollback(self) -> None:
        """The transaction did not happen."""
        for number in self._staged.values():
            del self._names[number]
        self._staged.clear()


def next_ready(connection: sqlite3.Connection, lane: int, paused: Collection[str]) -> float:
    """The instant at which the first delivery that is not paused is ready; infinite when there is none."""
    row = connection.execute(
        f"SELECT min(first) FROM ({_FIRST})",  # noqa: S608
        (lane, orjson.dumps(list(paused)).decode()),
    ).fetchone()
    return float("inf") if row[0] is None else row[0]


def take(
    connection: sqlite3.Connection, queues: Queues, lane: int, limit: int, now: int, choice: Choice
) -> Sequence[tuple[Any, ...]]:
    """The rows of the deliveries that a claim takes, in its order; each begins with ready_at and the event's number."""
    groups: defaultdict[Group, list[int]] = defaultdict(list)
    for number, first in connection.execute(_FIRST, (lane, orjson.dumps(list(choice.paused)).decode())):
        if first is not None and first <= now:
            groups[queues.group(number)].append(number)
    if len(groups) <= 1:
        parts = dict.fromkeys(groups, limit)
    else:
        parts = divide(
            {group: _count(connection, numbers, now, limit) for group, numbers in groups.items()}, limit, choice
        )
    rows: list[tuple[Any, ...]] = []
    for group, part in parts.items():
        if part:
            rows += _ends(connection, groups[group], now, part, choice)
    if len(groups) > 1:
        rows.sort(key=lambda row: (row[0], row[1]), reverse=choice.is_newest_first)
    return rows


def _ends(
    connection: sqlite3.Connection, numbers: list[int], now: int, part: int, choice: Choice
) -> list[tuple[Any, ...]]:
    oldest, newest = split_ends(part, choice)
    if not newest:
        return _fetch(connection, numbers, now, oldest, "ASC")
    late = _fetch(connection, numbers, now, part, "DESC")
    if len(late) < part or not oldest:
        return late  # everything that is ready
    return late[:newest] + _fetch(connection, numbers, now, oldest, "ASC")


def _fetch(
    connection: sqlite3.Connection, numbers: list[int], now: int, limit: int, direction: str
) -> list[tuple[Any, ...]]:
    arguments = [argument for number in numbers for argument in (number, now)]
    return connection.execute(_merged(len(numbers), direction), (*arguments, limit)).fetchall()


@lru_cache(maxsize=256)
def _merged(number: int, direction: str) -> str:
    """One statement over several queues: SQLite walks each along its index and merges them, reading what it returns."""
    union = " UNION ALL ".join([_READY_COLUMNS] * number)
    return f"{union} ORDER BY ready_at {direction}, event {direction} LIMIT ?"


def _count(connection: sqlite3.Connection, numbers: list[int], now: int, most: int) -> int:
    (number,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE queue IN (SELECT value FROM json_each(?)) "
        "AND state = 0 AND ready_at <= ? LIMIT ?)",
        (orjson.dumps(numbers).decode(), now, most),
    ).fetchone()
    return int(number)
