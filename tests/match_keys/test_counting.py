"""Counting match keys: shapes on the way of the events, tallies and metrics afterwards."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from app.errors import Outcome, Status, StoreUnavailable
from app.hashing.coverage import PARTS, RULES, coverage, has_key, keys_of, parts_of
from app.match_keys import counting
from app.match_keys.counting import FIELDS, MatchKeys, given_parts
from app.match_keys.keys import split_key
from app.metrics import Metrics
from app.model import Accepted, Form, HashedIdentity, Plan, Verdict
from app.outbox.tallies import MATCH_KEYS, DayTallies, Tally
from app.tallying import Tallies
from app.wire import Event
from tests.factories import START, digest, hashed_event, identity, plan
from tests.pipeline.support import wire

pytestmark = pytest.mark.anyio
QUEUED = Verdict(Outcome.QUEUED)
TODAY = START.date()


class Kept:
    """A store of tallies that fails when told to."""

    def __init__(self) -> None:
        self.books: dict[str, dict[Any, dict[str, Tally]]] = {}
        self.is_away = False

    async def add(self, book: str, tallies: DayTallies) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        for day, counts in tallies.items():
            kept = self.books.setdefault(book, {}).setdefault(day, {})
            for key, tally in counts.items():
                kept[key] = kept[key] + tally if key in kept else tally


class Setup:
    def __init__(self) -> None:
        self.kept = Kept()
        self.metrics = Metrics("0", ["shop"], ["meta"])
        self.tallies = Tallies(self.kept)  # type: ignore[arg-type]
        self.match_keys = MatchKeys(self.tallies, self.metrics, {"shop": {"meta": "meta", "own": "acme"}})

    def count(
        self, *plans: Plan, status: Status = Status.ACCEPTED, given: Any = None, at: Any = START, **where: Any
    ) -> None:
        became = [Accepted("id", status, where or {"meta": QUEUED}) for _ in plans]
        self.match_keys.count("shop", plans, became, given or {}, at)

    async def numbers(self, day: date = TODAY) -> dict[tuple[str, ...], int]:
        await self.tallies.flush()
        kept = self.kept.books.get(MATCH_KEYS, {}).get(day, {})
        return {split_key(key)[1:]: tally.number for key, tally in kept.items()}

    def metric(self, key: str, event_name: str = "Purchase") -> float | None:
        labels = {"source": "shop", "event_name": event_name, "destination": "meta", "key": key}
        return self.metrics.registry.get_sample_value("convey_match_key_events_total", labels)


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_the_fields_written_out_are_all_that_platforms_match_by() -> None:
    assert set(FIELDS) == PARTS - set(Form)
    one_each = [msgspec.structs.replace(HashedIdentity(), **{field: "x"}) for field in FIELDS]
    assert [parts_of(each) for each in one_each] == [frozenset({field}) for field in FIELDS]


@pytest.mark.parametrize("platform", list(RULES))
@pytest.mark.parametrize("action_source", ["website", "app", "physical_store"])
async def test_counting_says_what_an_explanation_says(setup: Setup, platform: str, action_source: str) -> None:
    match_keys = MatchKeys(setup.tallies, setup.metrics, {"shop": {"lane": platform}})
    who = identity()
    planned = plan("1", event=hashed_event(action_source=action_source, identity=who))
    match_keys.count("shop", [planned], [Accepted("id", Status.ACCEPTED, {"lane": QUEUED})], {}, START)
    numbers = await setup.numbers()
    told = coverage(who, platform, action_source)
    assert {key for _, _, key, what in numbers if what == "present"} - {"any"} == set(told.present)
    assert {key for _, _, key, what in numbers if what == "absent"} == {each.name for each in told.missing}
    assert all(has_key(parts_of(who), key) == (key.name in told.present) for key in keys_of(platform, action_source))


async def test_only_what_was_queued_counts(setup: Setup) -> None:
    setup.count(plan("1"), plan("2"))
    setup.count(plan("3"), status=Status.DUPLICATE)
    setup.count(plan("4"), status=Status.CONFLICT)
    setup.count(plan("5"), meta=Verdict(Outcome.DENIED))
    setup.match_keys.count("shop", [plan("6")], [None], {}, START)
    setup.count(plan("7"), own=QUEUED)
    setup.count(plan("8", event=hashed_event(is_test=True)))
    numbers = await setup.numbers()
    assert numbers["Purchase", "meta", "any", "present"] == 2
    assert numbers["Purchase", "meta", "em", "present"] == 2
    assert numbers["Purchase", "meta", "ge", "absent"] == 2
    assert numbers["Purchase", "own", "any", "present"] == 1
    assert not any(key != "any" for _, destination, key, _ in numbers if destination == "own")


async def test_metrics_have_a_zero_for_what_no_event_carried(setup: Setup) -> None:
    setup.count(plan("1"), plan("2", event_name="My Own"))
    assert setup.metric("any") is None
    await setup.tallies.flush()
    assert [setup.metric(key) for key in ("any", "em", "ge", "madid")] == [1, 1, 0, None]
    assert setup.metric("any", "custom") == 1
    assert setup.metric("any", "My Own") is None


async def test_days_are_apart_also_within_one_period(setup: Setup) -> None:
    setup.count(plan("1"))
    setup.count(plan("2"), plan("3"), at=START + timedelta(days=1))
    assert (await setup.numbers())["Purchase", "meta", "any", "present"] == 1
    assert (await setup.numbers(TODAY + timedelta(days=1)))["Purchase", "meta", "any", "present"] == 2


async def test_events_that_do_not_count_date_nothing(setup: Setup) -> None:
    setup.count(plan("1"), status=Status.DUPLICATE, at=START - timedelta(days=1))
    setup.count(plan("2"))
    await setup.tallies.flush()
    assert {tally.first_at for tally in setup.kept.books[MATCH_KEYS][TODAY].values()} == {START}


async def test_what_the_store_does_not_take_is_added_the_next_time(setup: Setup) -> None:
    setup.count(plan("1"))
    setup.kept.is_away = True
    with pytest.raises(StoreUnavailable):
        await setup.tallies.flush()
    setup.count(plan("2"), at=START + timedelta(hours=1))
    setup.kept.is_away = False
    assert (await setup.numbers())["Purchase", "meta", "any", "present"] == 2
    (any_key,) = [key for key in setup.kept.books[MATCH_KEYS][START.date()] if "\tany\t" in key]
    assert setup.kept.books[MATCH_KEYS][START.date()][any_key] == Tally(2, START, START + timedelta(hours=1))
    assert setup.metric("any") == 2


async def test_what_only_the_context_had_is_told_apart(setup: Setup) -> None:
    who = HashedIdentity(digests={Form.EMAIL: (digest("a"),)}, fbc="x", client_ip_address="8.8.8.8", idfa=None)
    both = [plan(number, event=hashed_event(identity=who)) for number in ("1", "2")]
    setup.count(*both, given={1: frozenset({"fbc", "fbp"})})
    numbers = await setup.numbers()
    assert numbers["Purchase", "meta", "fbc", "present"] == 2
    assert {key: number for (_, _, key, what), number in numbers.items() if what == "given"} == {"fbc": 1}


def test_a_click_id_is_the_contexts_when_its_url_is() -> None:
    bare = {key: value for key, value in wire().items() if key != "event_source_url"}
    posted = Event.model_validate({**bare, "user": {"fbp": "own"}})
    completed = posted.model_copy(
        update={
            "event_source_url": "https://shop.example/?fbclid=a",
            "user": posted.user.model_copy(update={"ttp": "t"}),
        }
    )
    given = given_parts(posted, completed)
    assert {"fbc", "ttp", "gclid"} <= given
    assert "fbp" not in given
    own_url = Event.model_validate({**bare, "event_source_url": "https://shop.example/?fbclid=a", "user": {}})
    completed = own_url.model_copy(update={"user": own_url.user.model_copy(update={"ttp": "t"})})
    assert given_parts(own_url, completed) == {"ttp"}


async def test_custom_names_like_standard_ones_are_noted_and_no_more_than_so_many(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MOST_NAMES", 10)
    setup.count(plan("1", event_name="Order_Complete"), plan("2", event_name="Added\tTo Basket"), plan("3"))
    setup.count(plan("4", event_name="LeadScore"))
    names = {(name, key): number for (name, _, key, what), number in (await setup.numbers()).items() if what == "name"}
    assert names == {("Order_Complete", "Purchase"): 1, ("Added To Basket", "AddToCart"): 1}
    for number in range(50):
        setup.count(plan("5", event_name="Purchased" + "!" * number))
    kept = [name for name, _, _, what in await setup.numbers() if what == "name"]
    assert len(kept) == 10
    assert setup.metric("Purchase", "custom") is None
