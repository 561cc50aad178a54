"""What a store keeps of persons: found by a scan, ended, deleted. The port every engine implements.

No index leads from a person to events: it would be written with every event and read a few times a year. Instead an
event's record carries the first bytes of its persons' keys (`app.withdrawal.person_keys`), and whoever asks has every
record looked at, in short steps that hold nobody up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.errors import Outcome
from app.model import HashedEvent
from app.outbox.port import EventState

MARK_BYTES = 8
"""How much of a key a record carries: of 10 million events of others, one in 10^11 scans takes one for the person's."""
PENDING_OUTCOMES = frozenset({Outcome.QUEUED, Outcome.RETRYING})


def marks_of(keys: Iterable[bytes]) -> tuple[bytes, ...]:
    """What records carry of these keys, `MARK_BYTES` each, in order."""
    return tuple([key[:MARK_BYTES] for key in keys])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose events a scan looks for: those of one source whose record carries one of `marks`.

    `fits` says so of an event whose record is of an earlier version and carries none; it can be asked only while there
    is a body.
    """

    source: str
    marks: Collection[bytes]
    fits: Callable[[HashedEvent], bool]


@dataclass(frozen=True, slots=True)
class Trace:
    """One event of a person, as the store has it. `key` belongs to the engine and is opaque.

    `event` is None once the body is gone. `claimed` are the destinations it is being sent to right now.
    """

    key: Any
    state: EventState
    event: HashedEvent | None
    claimed: frozenset[str]

    def has_come_to_rest(self, by: datetime) -> bool:
        """Whether nothing of it waits, and what arrived had arrived by then; the store itself has the last word."""
        return not any(
            each.outcome in PENDING_OUTCOMES
            or (each.outcome is Outcome.DELIVERED and each.settled_at is not None and each.settled_at > by)
            for each in self.state.destinations.values()
        )


@dataclass(frozen=True, slots=True)
class TracePage:
    """What one step of a scan found, and the place after which it goes on; None when everything was looked at.

    `looked_at` is how many records it looked at, or about as many.
    """

    traces: Sequence[Trace]
    after: str | None
    looked_at: int


class PersonStore(Protocol):
    """Finds and deletes what is kept of persons. Every method takes a short time, and may be cancelled."""

    async def find(self, wanted: Wanted, after: str | None) -> TracePage:
        """One step of a scan. An event that is accepted while a scan goes on is met if it is accepted before its end.

        Raises: ValueError when `after` is no place of this engine; StoreUnavailable.
        """

    async def end(self, traces: Sequence[Trace], marks: Collection[bytes]) -> Counter[tuple[str, Outcome]]:
        """End what is pending or dead of these events as ERASED, but what is claimed; one durable step for each.

        A record that carries no marks gets these, so that it is found again when there is no body any more.

        Returns how many deliveries were ended, by destination and what they were: QUEUED for pending, or DEAD. Their
        counts and money move in the ledger. Bodies go with the last of an event's deliveries.

        Raises: StoreUnavailable.
        """

    async def forget(self, traces: Sequence[Trace], settled_by: datetime) -> Counter[str]:
        """Delete all that is kept of these events, once they have come to rest.

        One that has anything pending or dead left, or arrived anywhere after `settled_by`, is left as it is. Returns
        how many of each went: `events`; `event_ids`, minted for their transactions; `contexts`; `pairs`, of the reports
        of both sides. An id that is still to be remembered is remembered as a digest; counts stay in the ledger. Done
        again, it changes nothing.

        Raises: StoreUnavailable.
        """

    async def forget_proofs(self, traces: Sequence[Trace]) -> int:
        """Delete the proofs of what these events' consent was decided by; returns how many.

        Raises: StoreUnavailable.
        """
