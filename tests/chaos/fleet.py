"""The processes of one gateway: several of each role on one store, killed, ended and started again one by one."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.harness import Gateway, Sandbox, wait_until

TUNING = {"timeout": "500ms", "lease": "6s", "retry": {"first": "200ms", "cap": "1s"}}
SERVER = {"graceful_shutdown": "3s", "drain": "2s"}
ROLES = ("api", "api", "api", "worker", "worker", "worker")
READY_S = 120.0


class Fleet:
    """Three API processes and three workers."""

    def __init__(
        self,
        folder: Path,
        sandbox: Sandbox,
        store: Mapping[str, Any],
        roles: Sequence[str] = ROLES,
        tuning: Mapping[str, Any] = TUNING,
    ) -> None:
        self.members = [
            Gateway(folder / f"{role}-{number}", sandbox.url, role=role, store=store, tuning=tuning, server=SERVER)
            for number, role in enumerate(roles)
        ]
        self.kills = 0
        self.restarts = 0

    @property
    def fronts(self) -> list[Gateway]:
        """The members that take requests."""
        return [member for member in self.members if member.role != "worker"]

    @property
    def urls(self) -> list[str]:
        """Where events can be posted."""
        return [member.url for member in self.fronts]

    def of(self, role: str) -> list[Gateway]:
        """The members of a role."""
        return [member for member in self.members if member.role == role]

    def start(self) -> None:
        """Start all and wait until all are ready."""
        for member in self.members:
            member.spawn()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when every member is ready."""
        for member in self.members:
            member.wait_ready(READY_S)

    def kill_one(self, dice: random.Random) -> str:
        """End any of them with kill -9 and start it again, without waiting for it."""
        member = dice.choice(self.members)
        member.kill()
        self.kills += 1
        member.spawn()
        return f"kill -9 of {member.folder.name}"

    def roll(self, members: Sequence[Gateway]) -> str:
        """End and start these one after the other, as a deployment does; each must end well and come back."""
        for member in members:
            member.wait_ready(READY_S)
            assert member.stop() == 0, member.tail()
            member.start()
            self.restarts += 1
        return f"SIGTERM and start of {len(members)} processes in turn"

    def close(self) -> None:
        """Leave nothing behind."""
        for member in self.members:
            member.close()

    def ask(self, path: str) -> Any:
        """The answer of whichever API process has one."""

        def answer() -> Any:
            for member in self.fronts:
                with contextlib.suppress(httpx.TransportError):
                    reply = member.get(path)
                    if reply.status_code == 200:
                        return reply.json()
            return None

        return wait_until(f"an answer to {path}", answer, READY_S)

    def ledger(self) -> dict[str, Any]:
        """The ledger, as any API process tells it."""
        accounts: dict[str, Any] = self.ask("/v1/ledger")["destinations"]
        return accounts

    def logged(self, event: str, **fields: Any) -> list[Any]:
        """The log lines of this event, of all members."""
        return [line for member in self.members for line in member.logged(event, **fields)]

    def restored(self) -> int:
        """How many events the members had to tell the store again."""
        return sum(line["restored"] for line in self.logged("store.failover"))

    def tails(self) -> str:
        """The ends of all logs, for a person."""
        return "\n".join(f"--- {member.folder.name}\n{member.tail(8)}" for member in self.members)


@contextlib.contextmanager
def running(make: Callable[[], Any]) -> Iterator[Any]:
    """What `make` makes, started, and closed afterwards."""
    made = make()
    try:
        made.start()
        yield made
    finally:
        made.close()
