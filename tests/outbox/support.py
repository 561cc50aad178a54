"""What the parts of the contract share: the engine's whole face, short words for steps, and the closing ledger."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import anyio
import pytest

from app.dedup.port import IdStore
from app.errors import Outcome, Reason
from app.model import Accepted, Delivery, Plan, Settlement
from app.outbox.port import LEDGER_STATES, PENDING, QUEUED, Backlog, DeadFilter, DeadLetter, Ledger, Store

LEASE = timedelta(seconds=20)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIMIT_S = 30
"""No test of the contract may take longer, unless it says so with `limit`."""


class Engine(Store, IdStore, Protocol):
    """A store engine as the gateway holds it: queue, journal and id registry in one."""


class Reopen(Protocol):
    """Ends the engine at hand, by a crash or in good order, and opens another on the same data."""

    async def __call__(self, *, crash: bool = True) -> Engine:
        """The engine opened anew; the former one must not be used any more."""
        ...


BodyCount = Callable[[], Awaitable[int]]
"""How many event bodies the store keeps at this moment."""


def limit(seconds: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give one test another upper bound than `LIMIT_S`."""

    def mark(test: Callable[..., Any]) -> Callable[..., Any]:
        test.limit_s = seconds  # type: ignore[attr-defined]
        return test

    return mark


def bounded(test: Callable[..., Any]) -> Callable[..., Any]:
    """The same async test, cancelled and failed when it takes too long."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        with anyio.fail_after(getattr(test, "limit_s", LIMIT_S)):
            await test(*args, **kwargs)

    return run


@pytest.mark.anyio
class Bounded:
    """Async tests, each with an upper bound."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, test in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(test):
                setattr(cls, name, bounded(test))


async def together(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What each call returned or raised, in order; all of them run at once."""
    results: list[Any] = [None] * len(calls)

    async def run(position: int, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            results[position] = await call()
        except Exception as failure:  # the test looks at it
            results[position] = failure

    async with anyio.create_task_group() as group:
        for position, call in enumerate(calls):
            group.start_soon(run, position, call)
    return results


# --- steps ----------------------------------------------------------------------------------------------------


async def accept(store: Engine, plan: Plan) -> Accepted:
    """What became of one plan."""
    (accepted,) = await store.accept([plan])
    return accepted


async def claim(store: Engine, destination: str = "meta", lease: timedelta = LEASE) -> Delivery:
    """The one delivery that is ready for `destination`."""
    deliveries = await store.claim(destination, 100, lease)
    assert len(deliveries) == 1, f"one ready delivery expected, got {len(deliveries)}"
    assert deliveries[0].destination == destination
    return deliveries[0]


async def claim_ids(store: Engine, destination: str = "meta", lease: timedelta = LEASE) -> list[str]:
    """The event_ids of whatever is ready for `destination`, in the order of the claim."""
    return [delivery.event_id for delivery in await store.claim(destination, 1000, lease)]


async def claim_in_turn(store: Engine, destination: str = "meta", lease: timedelta = HOUR) -> list[str]:
    """The event_ids of whatever is ready for `destination`, claimed one at a time."""
    ids = []
    while claimed := await store.claim(destination, 1, lease):
        ids += [delivery.event_id for delivery in claimed]
    return ids


async def key_of(store: Engine, event_id: str = "purchase_ORD-1", source: str | None = None) -> Any:
    """The key of the one event under this id."""
    (state,) = await store.event(event_id, source)
    return state.key


def delivered(delivery: Delivery, trace_id: str | None = None) -> Settlement:
    """The platform took it."""
    return Settlement(delivery, Outcome.DELIVERED, trace_id=trace_id)


def dead(
    delivery: Delivery, reason: Reason = Reason.REJECTED_BY_PLATFORM, detail: str | None = None, **over: Any
) -> Settlement:
    """It will never arrive."""
    return Settlement(delivery, Outcome.DEAD, reason, detail, **over)


def expired(delivery: Delivery, reason: Reason = Reason.DEDUP_WINDOW_PASSED) -> Settlement:
    """It was too late before it was sent."""
    return Settlement(delivery, Outcome.EXPIRED, reason, attempted=False)


def withdrawn(delivery: Delivery, reason: Reason = Reason.CONSENT_WITHDRAWN) -> Settlement:
    """The shopper took consent back before it was sent."""
    return Settlement(delivery, Outcome.WITHDRAWN, reason, attempted=False)


def retrying(delivery: Delivery, ready_at: datetime, reason: Reason = Reason.PLATFORM_ERROR, **over: Any) -> Settlement:
    """Not now, but at `ready_at`."""
    return Settlement(delivery, Outcome.RETRYING, reason, ready_at=ready_at, **over)


def released(delivery: Delivery, ready_at: datetime) -> Settlement:
    """Given back without a try."""
    return Settlement(delivery, Outcome.RETRYING, ready_at=ready_at, attempted=False)


async def settle(store: Engine, *settlements: Settlement) -> int:
    """How many of these took effect."""
    return await store.settle(settlements)


async def deliver_all(store: Engine, *destinations: str) -> None:
    """Claim whatever is ready for these destinations and settle it as delivered."""
    for destination in destinations:
        deliveries = await store.claim(destination, 10_000, LEASE)
        assert await settle(store, *map(delivered, deliveries)) == len(deliveries)


async def kill(store: Engine, plan: Plan, destination: str = "meta", **why: Any) -> Delivery:
    """Accept a plan and let its delivery to one destination end as a dead letter."""
    await accept(store, plan)
    delivery = await claim(store, destination)
    assert await settle(store, dead(delivery, **why)) == 1
    return delivery


async def dead_letters(store: Engine, which: DeadFilter, most: int, page: int = 100) -> list[DeadLetter]:
    """The oldest `most` dead letters that fit, read in pages of at most `page`."""
    found: list[DeadLetter] = []
    after = None
    while len(found) < most:
        some = await store.dead_letters(which, min(page, most - len(found)), after)
        found += some.letters
        after = some.after
        if after is None:
            break
    return found


async def replay(store: Engine, which: DeadFilter, most: int) -> int:
    """Replay the oldest `most` dead letters that fit; returns how many."""
    return await store.replay(await dead_letters(store, which, most))


async def purge(store: Engine, which: DeadFilter, most: int) -> int:
    """Purge the oldest `most` dead letters that fit; returns how many."""
    return await store.purge(await dead_letters(store, which, most))


# --- the ledger -----------------------------------------------------------------------------------------------


async def assert_closed(store: Engine) -> Ledger:
    """The ledger, once it is shown to close in deliveries and money and to agree with what waits."""
    ledger = await store.ledger()
    backlog = await store.backlog()
    for destination, account in ledger.items():
        terms: list[Mapping[str, int] | Mapping[str, Decimal]] = [account.deliveries, *account.money.values()]
        for term in terms:
            assert set(term) == {QUEUED, *LEDGER_STATES}, destination
            assert all(amount >= 0 for amount in term.values()), (destination, term)
        assert account.is_closed, (destination, account)
        waiting = backlog.get(destination, Backlog(0, 0, None))
        assert waiting.ready + waiting.later + waiting.held == account.deliveries[PENDING], destination
    assert set(backlog) <= set(ledger)
    return ledger


async def counts(store: Engine, destination: str = "meta") -> dict[str, int]:
    """The counts of one destination that are not zero, from a ledger that closes."""
    ledger = await assert_closed(store)
    if destination not in ledger:
        return {}
    return {state: count for state, count in ledger[destination].deliveries.items() if count}


async def money(store: Engine, destination: str = "meta") -> dict[str, dict[str, Decimal]]:
    """The sums of one destination that are not zero, per currency, from a ledger that closes."""
    ledger = await assert_closed(store)
    sums = {
        currency: {state: amount for state, amount in states.items() if amount}
        for currency, states in ledger[destination].money.items()
    }
    return {currency: states for currency, states in sums.items() if states}


async def waiting(store: Engine, destination: str = "meta") -> Backlog:
    """What waits for one destination."""
    return (await store.backlog()).get(destination, Backlog(0, 0, None))


def outcomes(accepted: Accepted, *destinations: str) -> Sequence[Outcome]:
    """The outcomes an answer names for these destinations."""
    return [accepted.destinations[destination].outcome for destination in destinations]
