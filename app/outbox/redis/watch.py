"""Looking at the servers: which run of which server holds each partition, and what is done when that changes.

A restart, a failover of a Sentinel group and the loss of a cluster's master have this in common: the partition is held
by another run of a server, which may lack the last writes of the former. Every process then tells it again what it told
lately (`app.outbox.redis.recall`), and what was missing is written down.

    {c:meta}:failovers    list, the latest first: what each process told again, as JSON
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis.exceptions import RedisError

from app.errors import Status, StoreMismatch, StoreUnavailable
from app.logs import wide_event
from app.outbox.redis import accept, claims, ids, memos
from app.outbox.redis.holds import unhold
from app.outbox.redis.link import META, Durability, Link, tag, talking, unavailable
from app.outbox.redis.recall import Recall
from app.outbox.vault import Vault

PERIOD_S = 1.0
"""How often a process looks."""
AT_ONCE = 200
NAMED = 1_000
"""How many events a failover names at most."""
FAILOVERS, FAILOVERS_KEPT = f"{META}:failovers", 100
KEPT_FOR = timedelta(days=30)
"""How long the last failovers stay written down after the latest."""
_RUN_ID = re.compile(rb"run_id:([0-9a-f]+)")

log = logging.getLogger("convey.store")


@dataclass(frozen=True, slots=True)
class Retold:
    """What a server was told again: how many events, and which of them it lacked or has under another id by now.

    `settled` is how many deliveries it took for pending that had arrived, `withdrawn` how many records of withdrawals
    it lacked; `unkept` how many acknowledgements had found no room to be kept, so that nobody can tell whether they are
    missing.
    """

    offered: int
    restored: Sequence[str]
    at_risk: Sequence[str]
    settled: int
    withdrawn: int
    unkept: int


class Watch:
    """For one process. `check` says what has to be waited for after a change; raises as `boot.check_servers` does."""

    def __init__(self, link: Link, recall: Recall, check: Callable[[], Awaitable[Durability]], vault: Vault) -> None:
        self._vault = vault
        self._link = link
        self._check = check
        self._recall = recall
        self._runs: dict[int, bytes] = {}

    def forget(self) -> None:
        """The data had vanished and an empty store was begun: whatever the servers are, they lack everything."""
        self._runs = dict.fromkeys(range(self._link.partitions), b"emptied")
        self._recall.begun_anew()

    async def look(self) -> Retold | None:
        """Look at every server once; returns what had to be told again, if anything had.

        Raises:
            StoreUnavailable: Not every server answers, or not all could be told. The next look goes on.
        """
        runs = await self._seen()
        changed = {partition for partition, run in runs.items() if self._runs.get(partition, run) != run}
        if changed or self._link.weakness is not None:
            await self._look_at_settings()
        if not changed:
            self._runs = runs
            if not self._link.is_gone:
                self._recall.same_servers()
            return None
        retold = await self._tell_again(changed)
        self._runs = runs
        await self._write_down(retold)
        return retold

    async def _look_at_settings(self) -> None:
        """A replica that took over may be set up otherwise than its master: nothing is promised while it is weaker."""
        try:
            self._link.durability = await self._check()
        except StoreMismatch as error:
            if self._link.weakness is None:
                wide_event(log, "store.weak", level=logging.ERROR, detail=str(error))
            self._link.weakness = str(error)
        else:
            self._link.weakness = None

    async def _seen(self) -> dict[int, bytes]:
        nodes = self._link.nodes
        told: dict[int, bytes] = {}
        try:
            await nodes.follow()
            for client in nodes.all():
                ask: Any = client.execute_command
                async with talking(client):
                    info = await ask("INFO", "server")
                told[id(client)] = run_of(info)
            return {each: told[id(nodes.client(tag(each)))] for each in range(self._link.partitions)}
        except (RedisError, OSError, TimeoutError, KeyError) as error:  # KeyError: the slots moved meanwhile
            await self._link.renew()
            raise unavailable(error) from error

    async def _tell_again(self, partitions: set[int]) -> Retold:
        plans, mintings, endings = self._recall.of(partitions, self._link.partitions)
        unkept = self._recall.unkept
        # Before the plans: what is queued again must be opened by whoever claims it, and find the withdrawals that
        # stand against it.
        await self._vault.tend()
        withdrawn = await memos.withdraw_again(self._link, self._recall.withdrawals(partitions, self._link.partitions))
        restored: list[str] = []
        at_risk: list[str] = []
        for start in range(0, len(mintings), AT_ONCE):
            minted = await ids.resolve(self._link, mintings[start : start + AT_ONCE], durable=True)
            _raise_first(minted)
        for start in range(0, len(plans), AT_ONCE):
            part = plans[start : start + AT_ONCE]
            answers = await accept.accept(self._link, [each.item() for each in part])
            _raise_first(answers)
            for each, answer in zip(part, answers, strict=True):
                if isinstance(answer, StoreUnavailable) or answer.status is Status.DUPLICATE:
                    continue
                (restored if answer.status is Status.ACCEPTED else at_risk).append(each.event_id)
        # Before the endings: what was released and arrived is looked for where it waited then.
        await unhold(self._link, self._recall.unholds(partitions, self._link.partitions))
        settled = 0
        for start in range(0, len(endings), AT_ONCE):
            effects = await claims.settle(self._link, endings[start : start + AT_ONCE])
            _raise_first(effects)
            settled += sum(effect for effect in effects if isinstance(effect, int))
        return Retold(len(plans), restored, at_risk, settled, withdrawn, unkept)

    async def _write_down(self, retold: Retold) -> None:
        is_whole = not (retold.restored or retold.at_risk or retold.withdrawn or retold.unkept)
        wide_event(
            log,
            "store.failover",
            level=logging.INFO if is_whole else logging.WARNING,
            offered=retold.offered,
            restored=len(retold.restored),
            settled=retold.settled,
            withdrawn=retold.withdrawn,
            unkept=retold.unkept,
            event_ids=[*retold.at_risk, *retold.restored][:NAMED],
            detail="the server was restarted or replaced, and was told again what it had acknowledged lately",
        )
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "offered": retold.offered,
            "settled": retold.settled,
            "withdrawn": retold.withdrawn,
            "unkept": retold.unkept,
            "restored": retold.restored[:NAMED],
            "at_risk": retold.at_risk[:NAMED],
        }
        await self._link.command("LPUSH", FAILOVERS, orjson.dumps(entry))
        await self._link.command("LTRIM", FAILOVERS, 0, FAILOVERS_KEPT - 1)
        await self._link.command("EXPIRE", FAILOVERS, int(KEPT_FOR.total_seconds()))


def run_of(info: object) -> bytes:
    """The run id in an answer to INFO; empty where a service hides it, whose failovers then cannot be seen."""
    if isinstance(info, Mapping):
        return str(info.get("run_id", "")).encode()
    found = _RUN_ID.search(info) if isinstance(info, bytes) else None
    return found[1] if found else b""


def _raise_first(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
