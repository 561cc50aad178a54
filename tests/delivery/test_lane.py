"""One lane: from the queue to the platform and back, whatever happens on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.delivery import lane as lane_module
from app.delivery.retry import RetryPolicy
from app.errors import Outcome, Reason, StoreUnavailable
from app.logs import JsonFormatter
from app.model import Delivery, HttpCall, Settlement
from tests.delivery.support import (
    LEASE,
    NAME,
    SECOND,
    Answer,
    Setup,
    adapter,
    body_left,
    build_each,
    ids,
    request_for,
    until,
)
from tests.factories import START, budget

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


# --- batches ------------------------------------------------------------------------------------------------------


async def test_what_waits_leaves_together_in_order(setup: Setup) -> None:
    await setup.put(*range(5))
    async with setup.running():
        await setup.settled(delivered=5)
    assert setup.platform.batches == [ids(0, 1, 2, 3, 4)]
    state = await setup.state("purchase_3")
    assert (state.outcome, state.attempts, state.trace_id) == (Outcome.DELIVERED, 1, "trace")


async def test_batches_have_a_largest_size(setup: Setup) -> None:
    await setup.put(*range(10))
    async with setup.running(max_items=4):
        await setup.settled(delivered=10)
    assert setup.platform.sizes == [4, 4, 2]
    assert setup.platform.asked == ids(*range(10))


async def test_what_comes_within_the_linger_travels_together(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    lane = setup.lane(linger=timedelta(hours=1))
    lingering, go_on = asyncio.Event(), asyncio.Event()
    rests = []

    async def rest(wait: timedelta) -> None:
        rests.append(wait)
        lingering.set()
        await go_on.wait()

    monkeypatch.setattr(lane, "_rest", rest)
    monkeypatch.setattr(lane_module, "POLL", timedelta(hours=1))
    async with setup.running(lane):
        await until(lambda: setup.progress == 1)
        await setup.put(1)
        await lingering.wait()
        await setup.put(2, 3)
        assert setup.platform.batches == []
        go_on.set()
        await setup.settled(delivered=3)
    assert setup.platform.batches == [ids(1, 2, 3)]
    assert rests[0] == timedelta(hours=1)


async def test_several_requests_are_under_way_at_once_and_not_more_than_allowed(setup: Setup) -> None:
    await setup.put(*range(40))
    go_on = asyncio.Event()

    async def wait(_: list[str]) -> Answer:
        await go_on.wait()
        return {}

    setup.platform.answer = wait
    async with setup.running(max_items=4, max_in_flight=3):
        await until(lambda: setup.platform.under_way == 3)
        go_on.set()
        await setup.settled(delivered=40)
    assert setup.platform.most_under_way == 3


async def test_a_lane_of_single_events_has_several_under_way_as_well(setup: Setup) -> None:
    """A largest batch of one is no probe."""
    await setup.put(*range(6))
    go_on = asyncio.Event()

    async def wait(_: list[str]) -> Answer:
        await go_on.wait()
        return {}

    setup.platform.answer = wait
    async with setup.running(max_items=1, max_in_flight=3):
        try:
            await until(lambda: setup.platform.under_way == 3, within_s=1)
        finally:
            go_on.set()
        await setup.settled(delivered=6)


async def test_an_event_that_comes_later_is_delivered_without_waiting_for_the_poll(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "POLL", timedelta(hours=1))
    async with setup.running():
        for number in range(3):
            await setup.put(number)
            await setup.settled(delivered=number + 1)


async def test_every_round_is_told(setup: Setup) -> None:
    async with setup.running():
        await until(lambda: setup.progress >= 3)
    labels = {"destination": NAME}
    assert setup.metrics.registry.get_sample_value("convey_worker_progress_timestamp_seconds", labels)


# --- results ------------------------------------------------------------------------------------------------------


async def test_each_delivery_gets_its_own_result(setup: Setup) -> None:
    await setup.put(*range(4))
    setup.platform.answer = lambda _: {"purchase_1": "refused", "purchase_2": "later"}
    async with setup.running():
        await setup.settled(delivered=2, dead=1, pending=1)
    refused, later = await setup.state("purchase_1"), await setup.state("purchase_2")
    assert (refused.outcome, refused.reason, refused.reason_detail) == (
        Outcome.DEAD,
        Reason.REJECTED_BY_PLATFORM,
        "code 100",
    )
    assert (later.outcome, later.reason, later.attempts) == (Outcome.RETRYING, Reason.PLATFORM_ERROR, 1)
    assert setup.attempts("partial") == 1
    assert (await setup.reclaimed(SECOND - timedelta(milliseconds=1))) == {}
    assert set(await setup.reclaimed(timedelta(milliseconds=1))) == {"purchase_2"}


async def test_what_is_to_be_tried_again_is(setup: Setup) -> None:
    await setup.put(1)
    setup.platform.answer = lambda _: {} if len(setup.platform.batches) > 2 else {"all": "later"}
    async with setup.running():
        for number in (1, 2):
            await until(lambda number=number: setup.attempts("platform_error") == number)  # type: ignore[misc]
            await setup.settled(pending=1)
            setup.clock.advance(MINUTE)
        await setup.settled(delivered=1)
    assert setup.platform.batches == [ids(1)] * 3
    assert (await setup.state("purchase_1")).attempts == 3


@pytest.mark.parametrize(
    ("over", "term", "reason"),
    [
        ({"pair_until": START}, "expired", Reason.DEDUP_WINDOW_PASSED),
        ({"pair_until": None, "window_until": START}, "expired", Reason.PLATFORM_WINDOW_PASSED),
        ({"pair_until": START + 9 * SECOND}, "expired", Reason.DEDUP_WINDOW_PASSED),
    ],
)
async def test_what_is_too_late_ends_unsent(setup: Setup, over: dict[str, Any], term: str, reason: Reason) -> None:
    await setup.put(1, budget_of=budget(**over))
    await setup.put(2)
    async with setup.running():
        await setup.settled(**{"delivered": 1, term: 1})
    assert setup.platform.batches == [ids(2)]
    state = await setup.state("purchase_1")
    assert (state.reason, state.attempts) == (reason, 0)
    labels = {"destination": NAME, "outcome": term, "reason": reason}
    assert setup.metrics.registry.get_sample_value("convey_deliveries_total", labels) == 1


async def test_a_batch_that_is_too_late_as_a_whole_is_not_even_built(setup: Setup) -> None:
    await setup.put(1, 2, budget_of=budget(pair_until=START))

    def never(deliveries: Sequence[Delivery], settings: Any) -> Any:
        raise AssertionError

    async with setup.running(destination=adapter(never)):
        await setup.settled(expired=2)
    assert {(await setup.state(event_id)).attempts for event_id in ids(1, 2)} == {0}


async def test_a_refusal_and_a_delivery_are_counted(setup: Setup) -> None:
    await setup.put(1, 2)
    setup.platform.answer = lambda _: {"purchase_1": "refused"}
    async with setup.running():
        await setup.settled(delivered=1, dead=1)
    value = setup.metrics.registry.get_sample_value
    assert value("convey_deliveries_total", {"destination": NAME, "outcome": "delivered", "reason": ""}) == 1
    dead = {"destination": NAME, "outcome": "dead", "reason": "rejected_by_platform"}
    assert value("convey_deliveries_total", dead) == 1
    assert value("convey_delivery_latency_seconds_count", {"destination": NAME}) == 1
    assert value("convey_batch_items_sum", {"destination": NAME}) == 2


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({}, "delivered"),
        ({"purchase_1": "refused"}, "partial"),
        ({"all": "refused"}, "rejected"),
        ({"all": "later"}, "platform_error"),
        ({"all": "limited"}, "rate_limited"),
        ({"whole": "park"}, "credentials"),
        ({"whole": "crash"}, "platform_error"),
        (httpx.Response(503, text="<html>"), "platform_error"),
    ],
)
async def test_every_request_has_a_verdict(
    setup: Setup, caplog: pytest.LogCaptureFixture, answer: Answer, word: str
) -> None:
    caplog.set_level(logging.INFO, "convey")
    await setup.put(1, 2)
    setup.platform.answer = lambda _: answer
    async with setup.running():
        await until(lambda: setup.attempts(word) == 1)
    fields: list[dict[str, Any]] = [
        record.fields  # type: ignore[attr-defined]
        for record in caplog.records
        if record.getMessage() == "delivery.attempted"
    ]
    assert [(each["verdict"], each["items"], each["event_ids"]) for each in fields] == [(word, 2, ids(1, 2))]


# --- taking a refused batch apart ---------------------------------------------------------------------------------


def splitting(*poison: int, suspects: bool = False) -> Any:
    """A platform that refuses any batch with one of these in it, as a whole."""
    bad = set(ids(*poison))

    def answer(batch: list[str]) -> Answer:
        found = [position for position, event_id in enumerate(batch) if event_id in bad]
        return {"whole": "split", "suspects": found if suspects else []} if found else {}

    return answer


@pytest.mark.parametrize(("size", "poison", "most"), [(8, 5, 7), (64, 0, 13), (64, 63, 13), (100, 37, 15), (3, 1, 5)])
async def test_one_culprit_is_found_by_halving(setup: Setup, size: int, poison: int, most: int) -> None:
    await setup.put(*range(size))
    setup.platform.answer = splitting(poison)
    async with setup.running():
        await setup.settled(delivered=size - 1, dead=1)
    assert len(setup.platform.batches) <= most
    assert setup.platform.sizes[0] == size
    state = await setup.state(f"purchase_{poison}")
    assert (state.reason, state.reason_detail, state.attempts) == (Reason.REJECTED_BY_PLATFORM, "code 100", 1)
    assert (await setup.state(f"purchase_{(poison + 1) % size}")).attempts == 1


async def test_several_culprits_are_all_found(setup: Setup) -> None:
    await setup.put(*range(32))
    setup.platform.answer = splitting(3, 4, 30)
    async with setup.running():
        await setup.settled(delivered=29, dead=3)


async def test_a_batch_of_nothing_but_culprits(setup: Setup) -> None:
    await setup.put(*range(4))
    setup.platform.answer = lambda _: {"whole": "split"}
    async with setup.running():
        await setup.settled(dead=4)
    assert sorted(setup.platform.sizes) == [1, 1, 1, 1, 2, 2, 4]


async def test_named_suspects_are_sent_alone_and_the_rest_together(setup: Setup) -> None:
    await setup.put(*range(50))
    setup.platform.answer = splitting(7, 21, suspects=True)
    async with setup.running():
        await setup.settled(delivered=48, dead=2)
    assert sorted(setup.platform.sizes) == [1, 1, 48, 50]


async def test_a_suspect_is_only_suspected(setup: Setup) -> None:
    """The platform names another than the culprit: the named one is delivered, the culprit found."""
    await setup.put(*range(8))

    def answer(batch: list[str]) -> Answer:
        return {"whole": "split", "suspects": [0]} if "purchase_5" in batch else {}

    setup.platform.answer = answer
    async with setup.running():
        await setup.settled(delivered=7, dead=1)


@pytest.mark.parametrize("suspects", [[0, 1, 2, 3], [99], [-1], [99, 2]])
async def test_suspects_that_tell_nothing_apart(setup: Setup, suspects: list[int]) -> None:
    await setup.put(*range(4))

    def answer(batch: list[str]) -> Answer:
        if len(batch) == 4:
            return {"whole": "split", "suspects": suspects}
        return splitting(2)(batch)  # type: ignore[no-any-return]

    setup.platform.answer = answer
    async with setup.running():
        await setup.settled(delivered=3, dead=1)
    assert all(size < 4 for size in setup.platform.sizes[1:])


async def test_a_split_keeps_the_order_of_the_halves(setup: Setup) -> None:
    await setup.put(*range(4))
    setup.platform.answer = lambda batch: {"whole": "split"} if len(batch) == 4 else {}
    async with setup.running():
        await setup.settled(delivered=4)
    assert setup.platform.batches[1:] == [ids(0, 1), ids(2, 3)]


async def test_a_single_event_that_is_to_be_split_is_refused(setup: Setup) -> None:
    await setup.put(1)
    setup.platform.answer = lambda _: {"whole": "split"}
    async with setup.running():
        await setup.settled(dead=1)
    assert len(setup.platform.batches) == 1


# --- parking and pacing -------------------------------------------------------------------------------------------


async def test_dead_credentials_park_the_lane_and_lose_nothing(setup: Setup) -> None:
    await setup.put(*range(3))
    setup.platform.answer = lambda _: {"whole": "park"}
    lane = setup.lane()
    async with setup.running(lane):
        await until(lambda: lane.state == "parked")
        assert lane.detail == "code 190"
        await setup.settled(pending=3)
        state = await setup.state("purchase_1")
        assert (state.outcome, state.reason, state.reason_detail) == (
            Outcome.RETRYING,
            Reason.CREDENTIALS,
            "code 190",
        )
        await setup.put(3)
        rounds = setup.progress
        await until(lambda: setup.progress > rounds + 3)
        assert len(setup.platform.batches) == 1

        setup.clock.advance(30 * SECOND)
        await until(lambda: len(setup.platform.batches) == 2)
        assert setup.platform.sizes == [3, 1]
        await until(lambda: setup.attempts("credentials") == 2)
        assert setup.metrics.registry.get_sample_value(*PARKED) == 1

        setup.platform.answer = lambda _: {}
        setup.clock.advance(MINUTE)
        await setup.settled(delivered=4)
    assert (lane.state, bool(lane.detail)) == ("running", False)
    assert setup.metrics.registry.get_sample_value(*PARKED) == 0


PARKED = ("convey_lane_state", {"destination": NAME, "state": "parked"})


async def test_a_parked_lane_goes_on_at_once_with_a_new_secret(setup: Setup) -> None:
    await setup.put(*range(3))
    setup.platform.answer = lambda _: {"whole": "park"}
    lane = setup.lane()
    async with setup.running(lane):
        await until(lambda: lane.state == "parked")
        setup.platform.answer = lambda _: {}
        lane.reconfigure(lane_module.LaneConfig(**{**fields_of(lane), "max_items": 2}))
        await setup.settled(delivered=3)
    assert setup.platform.sizes == [3, 2, 1]


def fields_of(lane: Any) -> dict[str, Any]:
    """The settings a lane goes by."""
    return {name: getattr(lane._config, name) for name in lane_module.LaneConfig.__dataclass_fields__}


async def test_being_parked_costs_no_event_its_attempts(setup: Setup) -> None:
    """A dead token loses nothing within the time budget: neither is the count of attempts used up by it."""
    await setup.put(1)
    setup.platform.answer = lambda _: {"whole": "park"}
    async with setup.running(retry=RetryPolicy(max_attempts=3)) as lane:
        for number in range(1, 5):
            await until(lambda number=number: setup.attempts("credentials") == number)  # type: ignore[misc]
            assert lane.state == "parked"
            setup.clock.advance(6 * MINUTE)
        setup.platform.answer = lambda _: {"all": "later"} if len(setup.platform.batches) < 7 else {}
        for _ in range(4):
            setup.clock.advance(6 * MINUTE)
            rounds = setup.progress
            await until(lambda rounds=rounds: setup.progress > rounds + 2)  # type: ignore[misc]
    assert (await setup.terms()).get("dead") is None


async def test_failing_requests_open_the_breaker_and_a_probe_closes_it(setup: Setup) -> None:
    await setup.put(*range(100))
    setup.platform.answer = lambda _: {"all": "later"}
    lane = setup.lane()
    async with setup.running(lane):
        for number in (1, 2, 3, 4, 5):
            await until(lambda number=number: len(setup.platform.batches) == number)  # type: ignore[misc]
            await until(lambda: not lane._batches)
            rounds = setup.progress
            await until(lambda rounds=rounds: setup.progress > rounds + 2)  # type: ignore[misc]
            assert len(setup.platform.batches) == number
            setup.clock.advance(5 * MINUTE)
        assert setup.platform.sizes == [100, 100, 100, 1, 1]
        assert lane.state == "open"
        setup.platform.answer = lambda _: {}
        setup.clock.advance(5 * MINUTE)
        await setup.settled(delivered=100)
    assert setup.platform.sizes[5:] == [1, 8, 64, 27]
    assert lane.state == "running"


async def test_nothing_else_goes_while_a_probe_is_out(setup: Setup) -> None:
    await setup.put(*range(20))
    setup.platform.answer = lambda _: {"all": "later"}
    go_on = asyncio.Event()

    async def wait(_: list[str]) -> Answer:
        await go_on.wait()
        return {}

    async with setup.running(max_in_flight=4) as lane:
        for number in (1, 2, 3):
            await until(lambda number=number: len(setup.platform.batches) == number)  # type: ignore[misc]
            await until(lambda: not lane._batches)
            if number == 3:
                setup.platform.answer = wait
                setup.platform.most_under_way = 0
            setup.clock.advance(5 * MINUTE)
        await until(lambda: setup.platform.under_way == 1)
        await setup.put(*range(20, 30))
        await asyncio.gather(*(setup.store.ledger() for _ in range(5)))
        assert setup.platform.most_under_way == 1
        go_on.set()
        await setup.settled(delivered=30)


async def test_a_hint_holds_the_whole_lane(setup: Setup) -> None:
    await setup.put(1)
    setup.platform.answer = lambda _: {"all": "limited"} if len(setup.platform.batches) == 1 else {}
    async with setup.running():
        await until(lambda: setup.attempts("rate_limited") == 1)
        await setup.put(2)
        setup.clock.advance(2 * MINUTE - SECOND)
        rounds = setup.progress
        await until(lambda: setup.progress > rounds + 3)
        assert len(setup.platform.batches) == 1
        setup.clock.advance(SECOND)
        await setup.settled(delivered=2)


async def test_events_with_an_answer_nobody_knows_do_not_hold_up_the_others(setup: Setup) -> None:
    """Each is tried a bounded number of times, alone; what comes after them is delivered meanwhile."""
    await setup.put(*range(6))
    strange = set(ids(*range(6)))

    def answer(batch: list[str]) -> Answer:
        if not strange & set(batch):
            return {}
        return {"whole": "split"} if len(batch) > 1 else {"all": "puzzle"}

    setup.platform.answer = answer
    async with setup.running():
        await until(lambda: len(setup.platform.batches) >= 11)
        setup.clock.advance(MINUTE)
        await setup.put(*range(100, 110))
        for _ in range(12):
            setup.clock.advance(10 * SECOND)
            rounds = setup.progress
            await until(lambda rounds=rounds: setup.progress > rounds + 2)  # type: ignore[misc]
    assert (await setup.terms()).get("delivered") == 10


async def test_an_outage_does_not_use_up_the_tries_of_an_unknown_answer(setup: Setup) -> None:
    await setup.put(1)
    setup.platform.answer = lambda _: {"all": "later"} if len(setup.platform.batches) < 10 else {"all": "puzzle"}
    async with setup.running():
        for number in range(1, 11):
            await until(lambda number=number: setup.attempts("platform_error") == number)  # type: ignore[misc]
            setup.clock.advance(5 * MINUTE)
            if number == 10:
                break
        await setup.settled(pending=1)


# --- faults of ours -----------------------------------------------------------------------------------------------


async def test_an_event_that_cannot_be_built_costs_no_other(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    await setup.put(0, 1)
    await setup.put(2, properties={"unbuildable": True})
    await setup.put(3, 4)
    async with setup.running():
        await setup.settled(delivered=4, pending=1)
    assert sorted(setup.platform.asked) == ids(0, 1, 3, 4)
    state = await setup.state("purchase_2")
    assert (state.outcome, state.reason, state.attempts) == (Outcome.RETRYING, Reason.PLATFORM_ERROR, 1)
    assert state.reason_detail == "the request could not be built: ValueError"
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any("delivery.build_failed" in line for line in lines)
    assert all("zq7x" not in line for line in lines)


async def test_those_that_can_be_built_still_travel_together(setup: Setup) -> None:
    await setup.put(*range(40))
    await setup.put(40, properties={"unbuildable": True})
    async with setup.running():
        await setup.settled(delivered=40, pending=1)
    assert len(setup.platform.batches) <= 10


async def test_an_event_that_can_never_be_built_dies(setup: Setup) -> None:
    await setup.put(1, properties={"unbuildable": True})
    async with setup.running():
        for number in range(1, 5):
            await until(attempted(setup, number))
            setup.clock.advance(MINUTE)
        await setup.settled(dead=1)
    state = await setup.state("purchase_1")
    assert (state.reason, state.attempts) == (Reason.ATTEMPTS_EXHAUSTED, 5)
    assert setup.platform.batches == []


def attempted(setup: Setup, number: int) -> Any:
    """Whether the first purchase has been tried so often."""

    async def holds() -> bool:
        return bool((await setup.state("purchase_1")).attempts == number)

    return holds


async def test_an_answer_that_cannot_be_read_is_ambiguous(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    await setup.put(1)
    await setup.put(2, budget_of=budget(repeat_for=timedelta(0)))
    setup.platform.answer = lambda _: {"whole": "crash"}
    async with setup.running():
        await setup.settled(pending=1, dead=1)
    assert (await setup.state("purchase_2")).reason is Reason.OUTCOME_UNKNOWN
    back = await setup.reclaimed(MINUTE)
    assert back["purchase_1"].unsure_since == START
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any("delivery.read_failed" in line for line in lines)
    assert all("zq7x" not in line for line in lines)


@pytest.mark.parametrize("has_left", [True, False])
@pytest.mark.parametrize("repeat_for", [timedelta(hours=48), timedelta(0)])
async def test_a_lost_connection(setup: Setup, has_left: bool, repeat_for: timedelta) -> None:
    await setup.put(1, budget_of=budget(repeat_for=repeat_for))

    async def fail(request: httpx.Request) -> httpx.Response:
        if has_left:
            await body_left(request)
        raise httpx.ReadError("reset")

    lane = setup.lane()
    lane._sender = type(lane._sender)(httpx.MockTransport(fail))
    async with setup.running(lane):
        if has_left and not repeat_for:
            await setup.settled(dead=1)
            assert (await setup.state("purchase_1")).reason is Reason.OUTCOME_UNKNOWN
        else:
            await until(lambda: setup.attempts("network") == 1)
    if not (has_left and not repeat_for):
        back = await setup.reclaimed(MINUTE)
        assert back["purchase_1"].attempts == 1
        assert back["purchase_1"].unsure_since == (START if has_left else None)
    await lane._sender.close()


# --- leases -------------------------------------------------------------------------------------------------------


async def test_nobody_else_gets_what_is_still_being_taken_apart(setup: Setup) -> None:
    """A bisection takes longer than a lease: the parts that wait for their turn stay claimed, too."""
    await setup.put(*range(16))
    stolen: list[Delivery] = []
    split = splitting(0)

    async def slowly(batch: list[str]) -> Answer:
        setup.clock.advance(8 * SECOND)
        stolen.extend(await setup.store.claim(NAME, 1000, LEASE))
        return split(batch)  # type: ignore[no-any-return]

    setup.platform.answer = slowly
    async with setup.running():
        await until(lambda: len(set(setup.platform.asked)) == 16 and len(setup.platform.batches) >= 9)
    assert [delivery.event_id for delivery in stolen] == []
    assert await setup.terms() == {"queued": 16, "delivered": 15, "dead": 1}


async def test_nobody_else_gets_what_waits_for_an_earlier_request_of_its_batch(setup: Setup) -> None:
    await setup.put(*range(6))
    stolen: list[Delivery] = []

    async def slowly(batch: list[str]) -> Answer:
        setup.clock.advance(9 * SECOND)
        stolen.extend(await setup.store.claim(NAME, 1000, LEASE))
        return {}

    setup.platform.answer = slowly
    async with setup.running(destination=adapter(build_each)):
        await until(lambda: len(setup.platform.batches) >= 6)
    assert [delivery.event_id for delivery in stolen] == []
    assert sorted(setup.platform.asked) == ids(*range(6))


async def test_what_somebody_else_has_by_now_is_not_sent(setup: Setup) -> None:
    """A lease that could not be kept is no claim any more, and the platform may not know the repeat."""
    await setup.put(0, 1, budget_of=budget(repeat_for=timedelta(0)))
    elsewhere: list[str] = []

    async def slowly(batch: list[str]) -> Answer:
        if batch == ids(0):
            setup.clock.advance(LEASE + SECOND)
            elsewhere.extend(each.event_id for each in await setup.store.claim(NAME, 2, LEASE))
        return {}

    setup.platform.answer = slowly
    async with setup.running(destination=adapter(build_each)) as lane:
        await until(lambda: bool(setup.platform.batches) and not lane._batches)
    assert elsewhere == ids(0, 1)
    assert setup.platform.asked == ids(0)


async def test_of_a_request_that_lost_one_event_the_others_are_sent(setup: Setup) -> None:
    await setup.put(0, 1, 2)

    def first_and_rest(deliveries: Sequence[Delivery], settings: Any) -> Sequence[HttpCall]:
        groups = [deliveries[:1], deliveries[1:]] if len(deliveries) == 3 else [deliveries]
        return [request_for(group) for group in groups]

    async def slowly(batch: list[str]) -> Answer:
        if batch == ids(0):
            setup.clock.advance(LEASE + SECOND)
            taken = await setup.store.claim(NAME, 2, LEASE)
            assert [each.event_id for each in taken] == ids(0, 1)
        return {}

    setup.platform.answer = slowly
    async with setup.running(destination=adapter(first_and_rest)):
        await setup.settled(delivered=2, pending=1)
    assert setup.platform.batches == [ids(0), ids(2)]


async def test_a_short_batch_does_not_ask_for_a_longer_lease(setup: Setup) -> None:
    extended = []
    extend = setup.store.extend

    async def watched(deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
        extended.append(len(deliveries))
        return await extend(deliveries, lease)

    setup.store.extend = watched  # type: ignore[method-assign]
    await setup.put(1, 2)
    async with setup.running():
        await setup.settled(delivered=2)
    assert extended == []


async def test_a_send_deep_in_a_split_has_a_fresh_lease(setup: Setup) -> None:
    await setup.put(*range(4))
    extended: list[list[str]] = []
    extend = setup.store.extend

    async def watched(deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
        extended.append([delivery.event_id for delivery in deliveries])
        assert lease == LEASE
        return await extend(deliveries, lease)

    def slowly(batch: list[str]) -> Answer:
        setup.clock.advance(6 * SECOND)
        return {"whole": "split"} if len(batch) == 4 else {}

    setup.store.extend = watched  # type: ignore[method-assign]
    setup.platform.answer = slowly
    async with setup.running():
        await setup.settled(delivered=4)
    assert {event_id for each in extended for event_id in each} == set(ids(0, 1, 2, 3))


# --- stopping -----------------------------------------------------------------------------------------------------


class Hanging:
    """A platform that answers when it is told to, if at all."""

    def __init__(self, setup: Setup, *, has_left: bool) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self._has_left = has_left
        self.sender = type(setup.sender)(httpx.MockTransport(self._serve))

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        if self._has_left:
            await body_left(request)
        self.reached.set()
        await self.go_on.wait()
        return httpx.Response(200, json={})


async def test_stopping_finishes_what_is_under_way_and_claims_nothing_more(setup: Setup) -> None:
    await setup.put(*range(4))
    hanging = Hanging(setup, has_left=True)
    lane = setup.lane(max_items=2)
    lane._sender = hanging.sender
    task = asyncio.create_task(lane.run())
    await hanging.reached.wait()
    lane.stop()
    await setup.store.ledger()
    assert not task.done()
    hanging.go_on.set()
    await task
    assert await setup.terms() == {"queued": 4, "delivered": 2, "pending": 2}
    assert set(await setup.reclaimed()) == set(ids(2, 3))


async def test_an_idle_lane_stops_at_once(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "POLL", timedelta(hours=1))
    for linger in (timedelta(0), timedelta(hours=1)):
        async with setup.running(linger=linger):
            rounds = setup.progress
            await until(lambda rounds=rounds: setup.progress > rounds)  # type: ignore[misc]


async def test_a_held_lane_stops_at_once(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    await setup.put(1)
    setup.platform.answer = lambda _: {"all": "limited"}
    async with setup.running():
        await until(lambda: setup.attempts("rate_limited") == 1)
        monkeypatch.setattr(lane_module, "POLL", timedelta(hours=1))


@pytest.mark.parametrize("has_left", [False, True])
async def test_abandoned_while_sending(setup: Setup, has_left: bool) -> None:
    await setup.put(1, 2)
    hanging = Hanging(setup, has_left=has_left)
    lane = setup.lane()
    lane._sender = hanging.sender
    task = asyncio.create_task(lane.run())
    await hanging.reached.wait()
    lane.abandon()
    await task
    if has_left:
        assert set(await setup.reclaimed(MINUTE)) == set(ids(1, 2))
        back = (await setup.reclaimed(LEASE))["purchase_1"]
        assert back.unsure_since == START
        assert back.attempts >= 1
        assert (await setup.state("purchase_1")).reason is Reason.NETWORK
    else:
        back = (await setup.reclaimed())["purchase_1"]
        assert (back.attempts, back.unsure_since) == (0, None)


async def test_abandoned_in_the_middle_of_a_split(setup: Setup) -> None:
    await setup.put(*range(4))
    lane = setup.lane()

    def answer(batch: list[str]) -> Answer:
        if len(batch) == 4:
            lane.abandon()
            return {"whole": "split"}
        return {}

    setup.platform.answer = answer
    await lane.run()
    assert setup.platform.sizes == [4]
    back = await setup.reclaimed()
    assert {(each.attempts, each.unsure_since) for each in back.values()} == {(0, None)}
    assert set(back) == set(ids(0, 1, 2, 3))


async def test_an_answer_that_drips_beyond_the_timeout_is_cut(setup: Setup) -> None:
    await setup.put(1)
    hanging = Hanging(setup, has_left=True)
    lane = setup.lane(timeout=timedelta(milliseconds=20))
    lane._sender = hanging.sender
    async with setup.running(lane):
        await until(lambda: setup.attempts("timeout") == 1)
    back = (await setup.reclaimed(MINUTE))["purchase_1"]
    assert (back.attempts, back.unsure_since) == (1, START)


# --- a store in trouble -------------------------------------------------------------------------------------------


class Flaky:
    """The store, of which some methods can be made to fail."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.failing: set[str] = set()
        self.failed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any) -> Any:
            if name in self.failing:
                self.failed.append(name)
                raise StoreUnavailable(f"{name} is out")
            return await method(*args)

        return call


@pytest.mark.parametrize("method", ["claim", "wait"])
async def test_a_store_that_cannot_be_reached_is_waited_for(
    setup: Setup, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    setup.outbox = Flaky(setup.store)
    setup.outbox.failing = {method}
    await setup.put(1)
    async with setup.running():
        await until(lambda: len(setup.outbox.failed) >= 2)
        setup.outbox.failing = set()
        await setup.settled(delivered=1)
    assert "Task exception was never retrieved" not in caplog.text


async def test_an_answer_that_could_not_be_kept_is_kept_once_the_store_is_back(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.outbox = Flaky(setup.store)
    setup.outbox.failing = {"settle"}
    await setup.put(1)
    async with setup.running():
        await until(lambda: len(setup.outbox.failed) >= 2)
        setup.outbox.failing = set()
        await setup.settled(delivered=1)
    assert setup.platform.batches == [ids(1)], "it was not sent again"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_another_failure_of_the_loop_ends_the_lane(setup: Setup) -> None:
    class Broken(Flaky):
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

    setup.outbox = Broken(setup.store)
    with pytest.raises(ZeroDivisionError):
        await setup.lane().run()


async def test_a_cancelled_lane_still_keeps_what_the_platform_said(setup: Setup) -> None:
    await setup.put(1)
    settling, go_on = asyncio.Event(), asyncio.Event()
    settle = setup.store.settle

    async def slowly(settlements: Sequence[Settlement]) -> int:
        settling.set()
        await go_on.wait()
        return await settle(settlements)

    setup.store.settle = slowly  # type: ignore[method-assign]
    lane = setup.lane()
    task = asyncio.create_task(lane.run())
    await settling.wait()
    for batch in list(lane._batches):
        batch.cancel()
    go_on.set()
    await setup.settled(delivered=1)
    lane.stop()
    await task
