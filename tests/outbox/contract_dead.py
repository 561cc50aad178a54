"""Dead letters: kept with their event, listed, replayed, purged, all within a ledger that closes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from app.errors import Outcome, Reason, Status
from app.outbox.port import DeadFilter
from tests.factories import FrozenClock, plan
from tests.outbox.support import (
    DAY,
    HOUR,
    LEASE,
    SECOND,
    BodyCount,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    claim_ids,
    claim_in_turn,
    counts,
    dead,
    dead_letters,
    deliver_all,
    delivered,
    kill,
    money,
    outcomes,
    purge,
    replay,
    retrying,
    settle,
    together,
    waiting,
)

ANY = DeadFilter()


class Dying(Bounded):
    """What `dead_letters`, `replay` and `purge` promise."""

    async def test_a_dead_letter_tells_its_story(self, store: Engine, clock: FrozenClock) -> None:
        purchase = plan(money=("EUR", "19.99"), accepted_at=clock.now())
        await accept(store, purchase)
        await settle(store, retrying(await claim(store), clock.now(), Reason.TIMEOUT))
        died_at = clock.advance(HOUR)
        end = dead(await claim(store), Reason.REJECTED_BY_PLATFORM, "Invalid parameter", trace_id="AbC9")
        assert await settle(store, end) == 1
        (letter,) = await dead_letters(store, ANY, 10)
        assert (letter.source, letter.event_id, letter.event_name) == ("shop", "purchase_ORD-1", "Purchase")
        assert (letter.destination, letter.reason) == ("meta", Reason.REJECTED_BY_PLATFORM)
        assert (letter.detail, letter.trace_id, letter.attempts) == ("Invalid parameter", "AbC9", 2)
        assert (letter.accepted_at, letter.died_at) == (purchase.accepted_at, died_at)
        assert letter.event_time == purchase.event.event_time
        assert letter.money == ("EUR", Decimal("19.99"))

    async def test_a_dead_letter_without_money(self, store: Engine) -> None:
        await kill(store, plan(money=None))
        (letter,) = await dead_letters(store, ANY, 10)
        assert (letter.money, letter.detail, letter.trace_id) == (None, None, None)

    async def test_an_unsent_one_has_no_attempts(self, store: Engine) -> None:
        await kill(store, plan(), reason=Reason.OUTCOME_UNKNOWN, attempted=False)
        (letter,) = await dead_letters(store, ANY, 10)
        assert (letter.attempts, letter.reason) == (0, Reason.OUTCOME_UNKNOWN)

    async def test_only_the_dead_are_listed(self, store: Engine) -> None:
        await accept(store, plan("ORD-1"))
        await deliver_all(store, "meta")
        await kill(store, plan("ORD-2"))
        assert [letter.event_id for letter in await dead_letters(store, ANY, 10)] == ["purchase_ORD-2"]

    async def test_oldest_first_and_no_more_than_asked_for(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan(f"ORD-{number}") for number in range(4)])
        batch = {delivery.event_id: delivery for delivery in await store.claim("meta", 10, HOUR)}
        order = [f"purchase_ORD-{number}" for number in (2, 0, 3, 1)]
        for event_id in order:
            clock.advance(SECOND)
            await settle(store, dead(batch[event_id]))
        assert [letter.event_id for letter in await dead_letters(store, ANY, 3)] == order[:3]
        assert await replay(store, ANY, 2) == 2
        assert [letter.event_id for letter in await dead_letters(store, ANY, 10)] == order[2:]
        assert await purge(store, ANY, 1) == 1
        assert [letter.event_id for letter in await dead_letters(store, ANY, 10)] == order[3:]

    @pytest.mark.parametrize(
        ("which", "expected"),
        [
            (DeadFilter(), {"1m", "1t", "2m", "3m"}),
            (DeadFilter(destination="meta"), {"1m", "2m", "3m"}),
            (DeadFilter(destination="google"), set()),
            (DeadFilter(reason=Reason.ATTEMPTS_EXHAUSTED), {"1t", "2m"}),
            (DeadFilter(event_id="purchase_ORD-1"), {"1m", "1t"}),
            (DeadFilter(source="app"), {"3m"}),
            (DeadFilter(died_before=plan().accepted_at + 90 * SECOND), {"1m", "1t"}),
            (DeadFilter(died_since=plan().accepted_at + 60 * SECOND), {"1t", "2m", "3m"}),
            (DeadFilter(died_since=plan().accepted_at + 90 * SECOND, event_id="purchase_ORD-2"), {"2m"}),
            (DeadFilter(died_since=plan().accepted_at + 90 * SECOND, event_id="purchase_ORD-1"), set()),
            (DeadFilter(event_name="Purchase"), {"1m", "1t", "2m", "3m"}),
            (DeadFilter(event_name="Lead"), set()),
            (DeadFilter(destination="meta", reason=Reason.ATTEMPTS_EXHAUSTED), {"2m"}),
            (DeadFilter(destination="tiktok", source="app"), set()),
        ],
    )
    async def test_filters(self, store: Engine, clock: FrozenClock, which: DeadFilter, expected: set[str]) -> None:
        minute = 60 * SECOND
        await kill(store, plan("ORD-1", ("meta", "tiktok")), "meta")
        clock.advance(minute)
        await settle(store, dead(await claim(store, "tiktok"), Reason.ATTEMPTS_EXHAUSTED))
        clock.advance(minute)
        await kill(store, plan("ORD-2", ("meta",)), reason=Reason.ATTEMPTS_EXHAUSTED)
        clock.advance(minute)
        await kill(store, plan("ORD-3", ("meta",), source="app"))
        listed = {letter.event_id[-1] + letter.destination[0] for letter in await dead_letters(store, which, 10)}
        assert listed == expected
        everything = {"1m", "1t", "2m", "3m"}
        assert await purge(store, which, 10) == len(expected)
        left = {letter.event_id[-1] + letter.destination[0] for letter in await dead_letters(store, ANY, 10)}
        assert left == everything - expected
        assert await replay(store, ANY, 10) == len(left)

    async def test_a_letter_says_what_time_it_has_left(self, store: Engine, clock: FrozenClock) -> None:
        purchase = plan()
        await accept(store, purchase)
        sent_at = clock.now()
        await settle(store, dead(await claim(store), Reason.OUTCOME_UNKNOWN, unsure_since=sent_at))
        (letter,) = await dead_letters(store, ANY, 10)
        assert (letter.budget, letter.unsure_since) == (purchase.deliveries[0].budget, sent_at)
        assert (await settle(store, dead(await claim(store, "tiktok")))) == 1
        sure = (await dead_letters(store, DeadFilter(destination="tiktok"), 10))[0]
        assert sure.unsure_since is None

    async def test_a_brief_letter_is_the_same_without_the_event(self, store: Engine) -> None:
        await kill(store, plan())
        (whole,) = (await store.dead_letters(ANY, 10)).letters
        (brief,) = (await store.dead_letters(ANY, 10, is_brief=True)).letters
        assert whole.event_time == plan().event.event_time
        assert brief == replace(whole, event_time=None)

    @pytest.mark.parametrize("page", [1, 2, 3, 7, 8])
    async def test_pages_meet_every_letter_once(self, store: Engine, clock: FrozenClock, page: int) -> None:
        await store.accept([plan(f"ORD-{number}") for number in range(4)])
        for moment in range(2):  # several die at one instant
            for destination in ("meta", "tiktok"):
                batch = await store.claim(destination, 2, HOUR)
                assert await settle(store, *map(dead, batch)) == 2
            clock.advance(moment * SECOND)
        seen = []
        after = None
        while True:
            some = await store.dead_letters(ANY, page, after)
            assert len(some.letters) <= page
            seen += [(letter.died_at, letter.event_id, letter.destination) for letter in some.letters]
            after = some.after
            if after is None:
                break
        assert len(seen) == len(set(seen)) == 8
        assert [died_at for died_at, *_ in seen] == sorted(died_at for died_at, *_ in seen)

    async def test_a_page_goes_on_after_what_was_ended_meanwhile(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(5)])
        for delivery in await store.claim("meta", 5, HOUR):
            await settle(store, dead(delivery))
            clock.advance(SECOND)
        first = await store.dead_letters(ANY, 2)
        assert await store.replay(first.letters) == 2
        for delivery in await store.claim("meta", 5, HOUR):
            await settle(store, dead(delivery))
        rest = await store.dead_letters(DeadFilter(died_before=clock.now()), 10, first.after)
        assert len(rest.letters) == 3
        assert rest.after is None

    @pytest.mark.parametrize("after", ["", "x", "1-2-x-y", "-1--1--1--1"])
    async def test_what_is_no_place_is_refused(self, store: Engine, after: str) -> None:
        with pytest.raises(ValueError):
            await store.dead_letters(ANY, 10, after)

    async def test_nothing_to_end_is_nothing_ended(self, store: Engine) -> None:
        assert await store.replay([]) == 0
        assert await store.purge([]) == 0

    async def test_whoever_comes_second_ends_nothing(self, store: Engine) -> None:
        await kill(store, plan())
        letters = (await store.dead_letters(ANY, 10)).letters
        ended = await together(partial(store.replay, letters), partial(store.purge, letters))
        assert sorted(ended) == [0, 1]
        assert (await counts(store))["queued"] == 1

    # --- replay

    async def test_replay_makes_it_pending_again(self, store: Engine, clock: FrozenClock) -> None:
        purchase = plan(money=("EUR", "19.99"), limited=("meta",))
        await kill(store, purchase)
        clock.advance(HOUR)
        assert await replay(store, ANY, 10) == 1
        assert await counts(store) == {"queued": 1, "pending": 1}
        assert await money(store) == {"EUR": {"queued": Decimal("19.99"), "pending": Decimal("19.99")}}
        assert list(await dead_letters(store, ANY, 10)) == []
        delivery = await claim(store)
        assert (delivery.event_id, delivery.event) == ("purchase_ORD-1", purchase.event)
        assert (delivery.attempts, delivery.unsure_since) == (0, None)
        assert delivery.budget == purchase.deliveries[0].budget
        assert (delivery.accepted_at, delivery.limited) == (purchase.accepted_at, True)
        assert await settle(store, delivered(delivery)) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_a_replay_is_as_unsure_as_it_was(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        claimed_at = clock.now()
        await claim(store)
        clock.advance(LEASE + SECOND)
        await settle(store, dead(await claim(store), Reason.OUTCOME_UNKNOWN))
        await replay(store, ANY, 10)
        delivery = await claim(store)
        assert (delivery.attempts, delivery.unsure_since) == (0, claimed_at)

    async def test_the_last_try_may_be_the_unsure_one(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        sent_at = clock.now()
        await settle(store, dead(await claim(store), Reason.OUTCOME_UNKNOWN, unsure_since=sent_at))
        clock.advance(HOUR)
        await replay(store, ANY, 10)
        assert (await claim(store)).unsure_since == sent_at

    async def test_a_replayed_one_may_die_again(self, store: Engine, clock: FrozenClock) -> None:
        await kill(store, plan())
        for _ in range(2):
            clock.advance(SECOND)
            assert await replay(store, ANY, 10) == 1
            await settle(store, dead(await claim(store), Reason.ATTEMPTS_EXHAUSTED))
        (letter,) = await dead_letters(store, ANY, 10)
        assert (letter.reason, letter.attempts, letter.died_at) == (Reason.ATTEMPTS_EXHAUSTED, 1, clock.now())
        assert await counts(store) == {"queued": 1, "dead": 1}

    async def test_the_token_of_the_dead_try_is_stale_after_a_replay(self, store: Engine) -> None:
        former = await kill(store, plan())
        await replay(store, ANY, 10)
        assert await settle(store, dead(former)) == 0
        assert await counts(store) == {"queued": 1, "pending": 1}
        await claim(store)

    async def test_replay_touches_only_what_fits(self, store: Engine) -> None:
        await kill(store, plan("ORD-1"))
        await settle(store, dead(await claim(store, "tiktok")))
        assert await replay(store, DeadFilter(destination="tiktok"), 10) == 1
        assert await counts(store, "meta") == {"queued": 1, "dead": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert await replay(store, DeadFilter(event_id="purchase_ORD-2"), 10) == 0

    async def test_a_duplicate_of_a_replayed_event_is_one(self, store: Engine) -> None:
        await kill(store, plan())
        await replay(store, ANY, 10)
        again = await accept(store, plan())
        assert again.status is Status.DUPLICATE
        assert again.destinations["meta"].outcome in {Outcome.QUEUED, Outcome.RETRYING}
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_replayed_ones_wait_like_others(self, store: Engine, clock: FrozenClock) -> None:
        await kill(store, plan("ORD-1"))
        clock.advance(HOUR)
        await accept(store, plan("ORD-2", accepted_at=clock.now()))
        clock.advance(SECOND)
        await replay(store, ANY, 10)
        assert (await waiting(store)).oldest_accepted_at == plan().accepted_at
        assert await claim_in_turn(store) == ["purchase_ORD-2", "purchase_ORD-1"]

    # --- purge

    async def test_purge_keeps_the_counts(self, store: Engine) -> None:
        await kill(store, plan(money=("EUR", "19.99")))
        assert await purge(store, ANY, 10) == 1
        assert await counts(store) == {"queued": 1, "dead": 1}
        assert await money(store) == {"EUR": {"queued": Decimal("19.99"), "dead": Decimal("19.99")}}
        assert list(await dead_letters(store, ANY, 10)) == []
        assert await replay(store, ANY, 10) == 0
        assert await purge(store, ANY, 10) == 0
        assert await claim_ids(store) == []
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}

    async def test_purge_leaves_the_other_deliveries(self, store: Engine) -> None:
        await kill(store, plan())
        await purge(store, ANY, 10)
        assert (await claim(store, "tiktok")).event == plan().event
        await kill(store, plan("ORD-2"))
        await settle(store, dead(await claim(store, "tiktok", lease=HOUR)))
        await purge(store, DeadFilter(destination="meta"), 10)
        assert await replay(store, ANY, 10) == 1
        assert (await claim(store, "tiktok")).event == plan("ORD-2").event

    async def test_a_duplicate_of_a_purged_event_is_one(self, store: Engine) -> None:
        await kill(store, plan(destinations=("meta",)))
        await purge(store, ANY, 10)
        again = await accept(store, plan(destinations=("meta",)))
        assert again.status is Status.DUPLICATE
        assert outcomes(again, "meta") == [Outcome.DEAD]
        assert await counts(store) == {"queued": 1, "dead": 1}

    async def test_newly_allowed_after_a_purge(self, store: Engine) -> None:
        await kill(store, plan(destinations=("meta",)))
        await purge(store, ANY, 10)
        assert (await accept(store, plan(destinations=("meta", "tiktok")))).status is Status.ACCEPTED
        assert (await claim(store, "tiktok")).event == plan().event
        assert await replay(store, ANY, 10) == 0
        assert await counts(store, "meta") == {"queued": 1, "dead": 1}

    async def test_the_body_stays_with_the_dead_letter(self, store: Engine, body_count: BodyCount | None) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await kill(store, plan())
        await deliver_all(store, "tiktok")
        assert await body_count() == 1
        await replay(store, ANY, 10)
        assert await body_count() == 1
        await settle(store, dead(await claim(store)))
        assert await body_count() == 1
        await purge(store, ANY, 10)
        assert await body_count() == 0

    async def test_the_body_goes_when_a_replayed_one_arrives(self, store: Engine, body_count: BodyCount | None) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await kill(store, plan(destinations=("meta",)))
        await replay(store, ANY, 10)
        await deliver_all(store, "meta")
        assert await body_count() == 0

    async def test_purge_leaves_the_body_the_others_need(self, store: Engine, body_count: BodyCount | None) -> None:
        if body_count is None:
            pytest.skip("this engine does not show its bodies")
        await kill(store, plan())
        await purge(store, ANY, 10)
        assert await body_count() == 1
        await deliver_all(store, "tiktok")
        assert await body_count() == 0

    # --- time and restarts

    async def test_dead_letters_outlive_a_restart(self, store: Engine, reopen: Reopen) -> None:
        await kill(store, plan("ORD-1"))
        await kill(store, plan("ORD-2"))
        await purge(store, DeadFilter(event_id="purchase_ORD-2"), 10)
        store = await reopen()
        assert [letter.event_id for letter in await dead_letters(store, ANY, 10)] == ["purchase_ORD-1"]
        assert await replay(store, ANY, 10) == 1
        store = await reopen()
        assert (await claim(store)).event == plan("ORD-1").event
        assert await counts(store) == {"queued": 2, "dead": 1, "pending": 1}

    async def test_dead_letters_are_kept_until_purged(self, store: Engine, clock: FrozenClock) -> None:
        await kill(store, plan(destinations=("meta",)))
        clock.advance(30 * DAY)
        await store.sweep()
        assert len(await dead_letters(store, ANY, 10)) == 1
        assert await replay(store, ANY, 10) == 1
        assert (await claim(store)).event == plan().event
        assert await counts(store) == {"queued": 1, "pending": 1}
