"""How much Redis a rate needs: arithmetic over measured constants. Pure.

The constants are those `python -m bench.redis` prints for a full purchase (19 digests, 1.7 kB before compression) on
Redis 7.0.15, 2026-11, fitted to one and four destinations. An event with fewer identifiers takes less.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

GIB = 1 << 30
WAITING_BYTES, WAITING_BYTES_EACH = 1_566, 150
"""An event that waits, and each of its deliveries."""
TRIED_BYTES_EACH = 133
"""A delivery that was tried and waits for its next try takes so much more: during an outage all of them are."""
JOURNAL_BYTES, JOURNAL_BYTES_EACH = 280, 67
"""A settled event while the journal tells of it, and each of its ends."""
REMEMBERED_BYTES, REMEMBERED_BYTES_EACH = 105, 4
"""An id that is remembered after the journal's time, and each destination it went to."""
PROOF_BYTES = 80
"""The proof of one event's consent decisions, compressed, among the others of its day."""
BASE_BYTES = 16 << 20
USABLE = 0.75
"""What of a server's memory may be filled: the rest is for fragmentation, buffers and the rewriting of its file."""
SERVER_US_EACH, SERVER_US_EACH_OF_MANY = 36, 128
"""Server CPU per delivery from acceptance to settlement, in microseconds, batches of 200: with one partition, and with
256, where a batch is 256 small calls; measured with the append-only file on one core of a shared two-core machine."""
BUSY = 0.6
"""What of a core a server may be busy for, so that bursts and backlogs find room."""
FEWEST_PARTITIONS, MOST_PARTITIONS, PARTITIONS_PER_SERVER = 256, 4096, 16


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be survived: `rate` events per second, and all destinations away for `outage`."""

    rate: float
    outage: timedelta
    destinations: int
    server_bytes: int = 10 * GIB
    journal_retention: timedelta = timedelta(days=7)
    dedup_window: timedelta = timedelta(hours=48)
    proof_retention: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a load needs, memory in bytes.

    `survives` is the longest outage of all destinations that one server of this memory holds, zero where it does not
    hold even what is remembered. `busy` is the share of a core each server is busy for, once nothing waits.
    """

    waiting_bytes: int
    journal_bytes: int
    remembered_bytes: int
    proof_bytes: int
    servers: int
    partitions: int
    busy: float
    survives: timedelta

    @property
    def memory_bytes(self) -> int:
        """What all servers hold at the end of the outage."""
        parts = (self.waiting_bytes, self.journal_bytes, self.remembered_bytes, self.proof_bytes)
        return BASE_BYTES + sum(parts)


def size(load: Load) -> Sizing:
    """What `load` needs."""
    each_waiting = WAITING_BYTES + load.destinations * (WAITING_BYTES_EACH + TRIED_BYTES_EACH)
    each_told = JOURNAL_BYTES + load.destinations * JOURNAL_BYTES_EACH
    each_known = REMEMBERED_BYTES + load.destinations * REMEMBERED_BYTES_EACH
    only_known = max(timedelta(0), load.dedup_window - load.journal_retention)
    told_for = max(timedelta(0), load.journal_retention - load.outage)  # what came since the outage began waits
    journal = load.rate * told_for.total_seconds() * each_told
    remembered = load.rate * only_known.total_seconds() * each_known
    waiting = load.rate * load.outage.total_seconds() * each_waiting
    proofs = load.rate * load.proof_retention.total_seconds() * PROOF_BYTES
    usable = load.server_bytes * USABLE
    journal_at_rest = load.rate * load.journal_retention.total_seconds() * each_told
    left = usable - BASE_BYTES - journal_at_rest - remembered - proofs
    by_memory = ceil((BASE_BYTES + waiting + journal + remembered + proofs) / usable)
    busy = load.rate * load.destinations * SERVER_US_EACH / 1e6
    busy_of_many = load.rate * load.destinations * SERVER_US_EACH_OF_MANY / 1e6
    is_one = by_memory == 1 and busy <= BUSY
    servers = 1 if is_one else max(2, by_memory, ceil(busy_of_many / BUSY))
    return Sizing(
        int(waiting),
        int(journal),
        int(remembered),
        int(proofs),
        servers,
        1 if is_one else partitions_for(servers),
        busy if is_one else busy_of_many / servers,
        timedelta(seconds=int(max(0.0, left) / (load.rate * (each_waiting - each_told)))),
    )


def partitions_for(servers: int) -> int:
    """How many partitions a cluster of so many masters should have: a power of two, and some for each."""
    partitions = FEWEST_PARTITIONS
    while partitions < servers * PARTITIONS_PER_SERVER and partitions < MOST_PARTITIONS:
        partitions *= 2
    return partitions


@dataclass(frozen=True, slots=True)
class Quota:
    """What a platform allows. `items` is the most events of one request, `linger` how long one waits to be filled."""

    platform: str
    items: int
    linger: timedelta
    per_minute: int
    per_day: int
    source: str


QUOTAS = (
    Quota("Google", 2_000, timedelta(seconds=2), 300, 100_000, "Data Manager API limits, per Cloud project"),
    Quota("TikTok", 1_000, timedelta(milliseconds=200), 600_000, 86_400_000, "Events API rate limits, per app"),
    Quota("Snapchat", 2_000, timedelta(milliseconds=200), 60_000, 86_400_000, "recommended ceiling, static token"),
)
"""Meta publishes no limit of this kind, Pinterest several that disagree."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a rate asks of a quota. `catch_up` is how long a backlog takes to leave; None: it never does."""

    quota: Quota
    per_minute: float
    per_day: float
    catch_up: timedelta | None

    @property
    def fits(self) -> bool:
        """Whether the steady rate stays within the quota."""
        return self.per_minute <= self.quota.per_minute and self.per_day <= self.quota.per_day


def demand(quota: Quota, load: Load, workers: int = 1) -> Demand:
    """What `load` asks of a platform, where each of `workers` fills requests of its own.

    A request leaves when it is full or has waited for its linger, whichever comes first.
    """
    lingers = workers / quota.linger.total_seconds()
    per_second = max(load.rate / quota.items, min(load.rate, lingers))
    most = min(quota.per_minute / 60, quota.per_day / 86_400) * quota.items
    backlog = load.rate * load.outage.total_seconds()
    catch_up = timedelta(seconds=int(backlog / (most - load.rate))) if most > load.rate else None
    return Demand(quota, per_second * 60, per_second * 86_400, catch_up)
