"""Settling: every claim ends once, the ledger closes after each step, in events and in money."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest

from app.errors import Outcome, Reason
from app.model import Delivery, Settlement
from app.outbox.port import DeadFilter
from tests.factories import DESTINATIONS, FrozenClock, plan
from tests.outbox.support import (
    HOUR,
    LEASE,
    SECOND,
    BodyCount,
    Bounded,
    Engine,
    Reopen,
    accept,
    assert_closed,
    claim,
    claim_ids,
    counts,
    dead,
    deliver_all,
    delivered,
    expired,
    money,
    purge,
    released,
    replay,
    retrying,
    settle,
    together,
    waiting,
    withdrawn,
)


class Settling(Bounded):
    """What `settle` and `ledger` promise."""

    async def test_accept_claim_deliver(self, store: Engine) -> None:
        await accept(store, plan())
        assert await counts(store) == {"queued": 1, "pending": 1}
        delivery = await claim(store)
        assert await counts(store) == {"queued": 1, "pending": 1}
        assert await settle(store, delivered(delivery, "trace-1")) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert await claim_ids(store) == []

    async def test_nothing_to_settle(self, store: Engine) -> None:
        assert await store.settle([]) == 0
        await store.extend([], LEASE)

    async def test_an_empty_ledger_names_the_configured(self, store: Engine) -> None:
        ledger = await assert_closed(store)
        assert set(ledger) == set(DESTINATIONS)
        assert await counts(store) == {}

    @pytest.mark.parametrize(
        ("end", "state"),
        [
            (delivered, "delivered"),
            (dead, "dead"),
            (expired, "expired"),
            (partial(expired, reason=Reason.PLATFORM_WINDOW_PASSED), "expired"),
            (withdrawn, "withdrawn"),
            (partial(withdrawn, reason=Reason.CANCELLED), "withdrawn"),
        ],
        ids=["delivered", "dead", "dedup window", "platform window", "consent withdrawn", "cancelled"],
    )
    async def test_every_final_outcome_is_counted(
        self, store: Engine, end: Callable[[Delivery], Settlement], state: str
    ) -> None:
        await accept(store, plan(money=("EUR", "19.99")))
        assert await settle(store, end(await claim(store))) == 1
        assert await counts(store) == {"queued": 1, state: 1}
        assert await money(store) == {"EUR": {"queued": Decimal("19.99"), state: Decimal("19.99")}}

    async def test_settlements_of_one_batch_differ(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan(f"ORD-{number}") for number in range(6)])
        batch = await store.claim("meta", 6, LEASE)
        done = await settle(
            store,
            delivered(batch[0]),
            dead(batch[1]),
            expired(batch[2]),
            withdrawn(batch[3]),
            retrying(batch[4], clock.now() + HOUR),
            released(batch[5], clock.now()),
        )
        assert done == 6
        expected = {"queued": 6, "delivered": 1, "dead": 1, "expired": 1, "withdrawn": 1, "pending": 2}
        assert await counts(store) == expected
        assert ((await waiting(store)).ready, (await waiting(store)).later) == (1, 1)

    async def test_settlements_of_several_destinations_in_one_batch(self, store: Engine) -> None:
        await accept(store, plan())
        done = await settle(store, delivered(await claim(store, "meta")), dead(await claim(store, "tiktok")))
        assert done == 2
        assert await counts(store, "meta") == {"queued": 1, "delivered": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "dead": 1}

    # --- money

    async def test_money_is_counted_per_currency(self, store: Engine) -> None:
        amounts: list[tuple[str, str] | None] = [("EUR", "0.10"), ("EUR", "0.20"), ("JPY", "12000"), None, ("USD", "0")]
        plans = [plan(f"ORD-{number}", money=amount) for number, amount in enumerate(amounts)]
        await store.accept(plans)
        assert await counts(store) == {"queued": 5, "pending": 5}
        assert await money(store) == {
            "EUR": {"queued": Decimal("0.30"), "pending": Decimal("0.30")},
            "JPY": {"queued": Decimal(12000), "pending": Decimal(12000)},
        }
        batch = {delivery.event_id: delivery for delivery in await store.claim("meta", 10, LEASE)}
        await settle(
            store,
            delivered(batch["purchase_ORD-0"]),
            dead(batch["purchase_ORD-1"]),
            expired(batch["purchase_ORD-2"]),
            delivered(batch["purchase_ORD-3"]),
        )
        assert await counts(store) == {"queued": 5, "delivered": 2, "dead": 1, "expired": 1, "pending": 1}
        assert await money(store) == {
            "EUR": {"queued": Decimal("0.30"), "delivered": Decimal("0.10"), "dead": Decimal("0.20")},
            "JPY": {"queued": Decimal(12000), "expired": Decimal(12000)},
        }

    async def test_money_is_counted_per_destination(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", ("meta", "tiktok"), money=("EUR", "10.50")))
        await accept(store, plan("ORD-2", ("meta",), money=("EUR", "1.25")))
        assert (await money(store, "meta"))["EUR"]["queued"] == Decimal("11.75")
        assert (await money(store, "tiktok"))["EUR"]["queued"] == Decimal("10.50")

    async def test_money_is_exact(self, store: Engine, reopen: Reopen) -> None:
        great, small = Decimal("99999999999999.999999"), Decimal("0.000001")
        plans = [plan(f"ORD-{number}", ("meta",), money=("VND", great)) for number in range(3)]
        await store.accept([*plans, plan("ORD-9", ("meta",), money=("VND", small))])
        total = 3 * great + small
        assert await money(store) == {"VND": {"queued": total, "pending": total}}
        batch = await store.claim("meta", 10, LEASE)
        await settle(store, *[delivered(each) for each in batch if each.event_id != "purchase_ORD-9"])
        store = await reopen()
        assert await money(store) == {"VND": {"queued": total, "delivered": 3 * great, "pending": small}}

    async def test_many_small_amounts_add_up(self, store: Engine) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",), money=("EUR", "0.1")) for number in range(200)])
        await deliver_all(store, "meta")
        assert await money(store) == {"EUR": {"queued": Decimal(20), "delivered": Decimal(20)}}

    async def test_a_duplicate_adds_no_money(self, store: Engine) -> None:
        await store.accept([plan(money=("EUR", "10")), plan(money=("EUR", "12"))])
        assert await money(store) == {"EUR": {"queued": Decimal(10), "pending": Decimal(10)}}

    @pytest.mark.parametrize(
        "amount", [("EUR", "12"), ("USD", "12"), None], ids=["other sum", "other currency", "none"]
    )
    async def test_money_ends_where_it_began(
        self, store: Engine, reopen: Reopen, amount: tuple[str, str] | None
    ) -> None:
        """A second copy of an event may name another sum, whatever the first one was counted with stays."""
        names = ("meta", "tiktok", "google")
        await accept(store, plan(destinations=("meta", "tiktok"), money=("EUR", "10")))
        await deliver_all(store, "tiktok")
        await accept(store, plan(destinations=names, money=amount))
        for name in names:
            delivery = await claim(store, name) if name != "tiktok" else None
            if delivery is not None:
                assert await settle(store, dead(delivery)) == 1
        for name in names[:2]:
            assert (await money(store, name))["EUR"]["queued"] == Decimal(10)
        store = await reopen()
        assert await replay(store, DeadFilter(), 10) == 2
        await money(store, "google")
        await deliver_all(store, "meta", "google")
        for name in names[:2]:
            assert await money(store, name) == {"EUR": {"queued": Decimal(10), "delivered": Decimal(10)}}
        for states in (await money(store, "google")).values():
            assert states["queued"] == states["delivered"]

    async def test_the_ledger_outlives_shared_commits(self, store: Engine, reopen: Reopen, clock: FrozenClock) -> None:
        for turn in range(5):
            await store.accept([plan(f"ORD-{turn}-{number}", money=("EUR", "1")) for number in range(4)])
            first, second, third, _ = await store.claim("meta", 4, LEASE)
            await together(
                partial(accept, store, plan(f"ORD-{turn}-8", money=("EUR", "1"))),
                partial(settle, store, delivered(first), dead(second)),
                partial(replay, store, DeadFilter(), 1),
                partial(accept, store, plan(f"ORD-{turn}-9", money=("EUR", "1"))),
                partial(settle, store, expired(third)),
                partial(purge, store, DeadFilter(), 1),
                partial(store.claim, "tiktok", 3, LEASE),
            )
            before = {name: (await counts(store, name), await money(store, name)) for name in ("meta", "tiktok")}
            store = await reopen()
            for name, kept in before.items():
                assert (await counts(store, name), await money(store, name)) == kept
            clock.advance(HOUR)
            await deliver_all(store, "meta", "tiktok")
        assert (await counts(store))["queued"] == 30

    # --- the fence

    async def test_settling_twice_counts_once(self, store: Engine) -> None:
        await accept(store, plan())
        delivery = await claim(store)
        assert await settle(store, delivered(delivery)) == 1
        assert await settle(store, delivered(delivery)) == 0
        assert await settle(store, dead(delivery)) == 0
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_one_batch_settling_twice_counts_once(self, store: Engine) -> None:
        await store.accept([plan("ORD-1"), plan("ORD-2")])
        first, second = await store.claim("meta", 2, LEASE)
        assert await settle(store, delivered(first), delivered(first)) == 1
        assert await settle(store, delivered(second), dead(second), expired(second)) == 1
        assert (await counts(store))["queued"] == 2
        assert "pending" not in await counts(store)

    async def test_concurrent_settlements_count_once(self, store: Engine) -> None:
        await accept(store, plan())
        delivery = await claim(store)
        done = await together(*[partial(settle, store, end(delivery)) for end in (delivered, dead, expired) * 4])
        assert sum(done) == 1
        assert (await counts(store))["queued"] == 1
        assert "pending" not in await counts(store)

    async def test_a_stale_token_changes_nothing(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        stale = await claim(store)
        clock.advance(LEASE + SECOND)
        current = await claim(store)
        later = clock.now() + HOUR
        for end in (dead(stale), expired(stale), withdrawn(stale), retrying(stale, later), released(stale, later)):
            assert await settle(store, end) == 0
        assert await counts(store) == {"queued": 1, "pending": 1}
        assert await claim_ids(store) == []
        assert await settle(store, dead(current)) == 1
        assert await counts(store) == {"queued": 1, "dead": 1}

    async def test_a_token_is_stale_once_the_delivery_is_put_back(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        delivery = await claim(store)
        await settle(store, retrying(delivery, clock.now()))
        assert await settle(store, dead(delivery)) == 0
        assert await settle(store, retrying(delivery, clock.now() + HOUR)) == 0
        assert (await claim(store)).attempts == 1

    async def test_late_delivered_counts_while_pending(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        stale = await claim(store)
        clock.advance(LEASE + SECOND)
        current = await claim(store)
        assert await settle(store, delivered(stale)) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}
        assert await settle(store, delivered(current)) == 0
        assert await settle(store, dead(current)) == 0
        assert await settle(store, retrying(current, clock.now())) == 0
        assert await counts(store) == {"queued": 1, "delivered": 1}
        assert await claim_ids(store) == []

    async def test_late_delivered_counts_before_anybody_claims_again(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        late = await claim(store)
        clock.advance(LEASE + SECOND)
        assert await settle(store, delivered(late)) == 1
        assert await claim_ids(store) == []
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_late_delivered_counts_while_waiting_for_a_retry(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        stale = await claim(store)
        clock.advance(LEASE + SECOND)
        await settle(store, retrying(await claim(store), clock.now() + HOUR))
        assert await settle(store, delivered(stale)) == 1
        clock.advance(2 * HOUR)
        assert await claim_ids(store) == []
        assert await counts(store) == {"queued": 1, "delivered": 1}

    @pytest.mark.parametrize("end", [dead, expired, withdrawn, delivered], ids=lambda end: end.__name__)
    async def test_late_delivered_is_too_late_after_another_settlement(
        self, store: Engine, clock: FrozenClock, end: Callable[[Delivery], Settlement]
    ) -> None:
        await accept(store, plan())
        stale = await claim(store)
        clock.advance(LEASE + SECOND)
        assert await settle(store, end(await claim(store))) == 1
        before = await counts(store)
        assert await settle(store, delivered(stale)) == 0
        assert await counts(store) == before

    # --- retrying

    async def test_a_retry_waits_for_its_instant(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        retry_at = clock.now() + HOUR
        assert await settle(store, retrying(await claim(store), retry_at)) == 1
        assert await counts(store) == {"queued": 1, "pending": 1}
        assert await claim_ids(store) == []
        clock.set(retry_at - SECOND)
        assert await claim_ids(store) == []
        clock.set(retry_at)
        assert (await claim(store)).attempts == 1

    async def test_a_retry_may_be_shorter_than_the_lease(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await settle(store, retrying(await claim(store, lease=HOUR), clock.now() + SECOND))
        clock.advance(SECOND)
        await claim(store)

    async def test_attempts_count_the_tries_that_left(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        seen = []
        for attempted in (True, False, True, False, True):
            delivery = await claim(store)
            seen.append(delivery.attempts)
            await settle(store, retrying(delivery, clock.now(), attempted=attempted))
        assert seen == [0, 1, 1, 2, 2]
        last = await claim(store)
        assert (last.attempts, last.unsure_since) == (3, None)

    # --- what is kept

    async def test_the_body_goes_with_the_last_delivery(self, store: Engine, body_count: BodyCount | None) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await store.accept([plan("ORD-1"), plan("ORD-2")])
        assert await body_count() == 2
        await deliver_all(store, "meta")
        assert await body_count() == 2
        await deliver_all(store, "tiktok")
        assert await body_count() == 0

    @pytest.mark.parametrize("end", [delivered, expired, withdrawn], ids=lambda end: end.__name__)
    async def test_the_body_goes_whatever_the_end(
        self, store: Engine, body_count: BodyCount | None, end: Callable[[Delivery], Settlement]
    ) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await accept(store, plan(destinations=("meta",)))
        await settle(store, end(await claim(store)))
        assert await body_count() == 0

    async def test_the_body_goes_with_a_late_delivered(
        self, store: Engine, clock: FrozenClock, body_count: BodyCount | None
    ) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await accept(store, plan(destinations=("meta",)))
        stale = await claim(store)
        clock.advance(LEASE + SECOND)
        await claim(store)
        await settle(store, delivered(stale))
        assert await body_count() == 0

    async def test_no_body_is_kept_for_nobody(self, store: Engine, body_count: BodyCount | None) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await accept(store, plan(destinations=(), refused={"meta": Reason.CONSENT_MISSING}))
        await accept(store, plan("ORD-2", asked="evt-1"))
        assert await body_count() == 1
        await accept(store, plan("ORD-3", asked="evt-1"))
        await accept(store, plan("ORD-2"))
        assert await body_count() == 1
        await deliver_all(store, "meta", "tiktok")
        await accept(store, plan("ORD-2"))
        assert await body_count() == 0

    async def test_outcomes_of_a_whole_event_end_apart(self, store: Engine) -> None:
        await accept(store, plan(destinations=DESTINATIONS))
        ends: list[Callable[[Delivery], Settlement]] = [delivered, dead, expired, withdrawn]
        for name, end in zip(DESTINATIONS, ends, strict=True):
            assert await settle(store, end(await claim(store, name))) == 1
        states = (await store.event("purchase_ORD-1"))[0].destinations
        assert [states[name].outcome for name in DESTINATIONS] == [
            Outcome.DELIVERED,
            Outcome.DEAD,
            Outcome.EXPIRED,
            Outcome.WITHDRAWN,
        ]
