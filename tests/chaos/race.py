"""Pages and backends that all ask for one order's id, and post that order, at the same instant and through crashes.

An id that everybody derives alike would come out right by luck: every second backend brings an id of its own, so that
it matters who is first. Whoever that is, all others must be told of that id, and one event may be accepted.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import httpx

from tests.e2e.harness import KEY, Order, is_listening

ANSWERED_WITHIN_S = 120


@dataclass(slots=True)
class Race:
    """What was answered about one order. `winner` is the id that counts, once everybody was heard."""

    order: Order
    minted: list[str] = field(default_factory=list)
    posted: list[tuple[str, str]] = field(default_factory=list)
    """Status and id of each post that named none."""
    own: list[tuple[str, str]] = field(default_factory=list)
    """The same of posts that named an id of their own."""
    troubles: Counter[int | str] = field(default_factory=Counter)
    """What callers met before they had their answer."""

    @property
    def answers(self) -> int:
        """How many there are by now."""
        return len(self.minted) + len(self.posted) + len(self.own)

    @property
    def winner(self) -> str:
        """The one id that all were told of who named none; an assertion error when there are several."""
        told = Counter([*self.minted, *(event_id for _, event_id in self.posted)])
        assert len(told) == 1, f"{self.order.number} has {len(told)} ids: {told}"
        return next(iter(told))

    def assert_fair(self) -> None:
        """One id for everybody and one accepted event; who brought another id was told so.

        The answer that said `accepted` may have been lost with its process: its caller was then told `duplicate`.
        """
        winner = self.winner
        statuses = Counter(status for status, _ in self.posted)
        for status, event_id in self.own:
            allowed = {"accepted", "duplicate"} if event_id == winner else {"conflict"}
            assert status in allowed, f"{self.order.number}: {event_id} is {status}, the order has {winner}"
            statuses[status] += event_id == winner
        assert statuses["accepted"] <= 1, f"{self.order.number} was accepted {statuses['accepted']} times"
        assert statuses.keys() <= {"accepted", "duplicate", "conflict"}, statuses
        assert not any(status == "conflict" for status, _ in self.posted)


ASKS = 2
"""Pages are reloaded, and webhooks come twice."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What breaks, at once, and what puts it right."""

    strike: Callable[[], None]
    mend: Callable[[], object]


async def run(
    urls: Sequence[str], order: Order, callers: int, dice: random.Random, fault: Fault, *, is_posted_first: bool
) -> Race:
    """The answers of `callers` who begin together and ask twice, each again and again until it has its answers.

    A mint is the quicker call: where the order `is_posted_first`, pages begin once the first backend was answered, so
    that the id is decided among those. `fault` strikes when a third of the answers are in, with most of the others
    under way.
    """
    race = Race(order)
    begin, decided, struck = anyio.Event(), anyio.Event(), anyio.Event()
    strike_at = callers * ASKS // 3
    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=15, limits=limits) as http:

        async def call(number: int) -> None:
            own_dice = random.Random(dice.random())
            await (decided if is_posted_first and number % 2 == 0 else begin).wait()
            for _ in range(ASKS):
                await _ask(http, urls, race, number, own_dice)
                decided.set()
                if race.answers == strike_at:
                    fault.strike()
                    struck.set()

        with anyio.fail_after(ANSWERED_WITHIN_S):
            async with anyio.create_task_group() as group:
                for number in dice.sample(range(callers), callers):
                    group.start_soon(call, number)
                begin.set()
                await struck.wait()
                await anyio.to_thread.run_sync(fault.mend)
    return race


async def _ask(http: httpx.AsyncClient, urls: Sequence[str], race: Race, number: int, dice: random.Random) -> None:
    """Ask any of the processes until one answers, with the same words each time. Even numbers mint, odd ones post."""
    event = race.order.event
    has_own_id = number % 4 == 3
    if has_own_id:
        event["event_id"] = f"own-{race.order.number}-{number}"
    while True:
        url = dice.choice(urls)
        try:
            if number % 2:
                reply = await http.post(f"{url}/v1/events", json=event)
            else:
                reply = await http.put(f"{url}/v1/event-ids/Purchase/{race.order.number}")
        except httpx.TransportError as error:
            race.troubles[type(error).__name__] += 1
        else:
            if reply.is_success:
                break
            assert reply.status_code == 503, reply.text
            race.troubles[reply.status_code] += 1
        await asyncio.sleep(0.02 + 0.1 * dice.random())
        while not any(is_listening(httpx.URL(url).port or 80) for url in urls):
            await asyncio.sleep(0.05)
    if number % 2 == 0:
        race.minted.append(reply.json()["event_id"])
        return
    (result,) = reply.json()["results"]
    (race.own if has_own_id else race.posted).append((result["status"], result["event_id"]))
