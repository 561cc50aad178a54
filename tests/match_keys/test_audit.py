"""The match-key audit: coverage by day, what costs most, and a verdict with a next step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from app.match_keys.audit import Row, audit, words
from app.match_keys.keys import ABSENT, ANY, GIVEN, PRESENT, tally_key
from app.outbox.tallies import Tally
from tests.factories import START

TODAY = START.date()
Counts = dict[str, Tally]
NOTHING: Mapping[str, int] = {}
FULL = {"em": 95, "ph": 90, "fn+ln": 90, "client_ip_address": 100, "fbc": 40, "fbp": 80}


def day_of(events: int, present: Mapping[str, int], back: int = 0, given: Mapping[str, int] = NOTHING) -> Counts:
    """A day of Purchases at Meta: so many events, each key on so many of them and absent from the others."""
    at = START - timedelta(days=back)
    numbers = {tally_key("shop", "Purchase", "meta", ANY, PRESENT): events}
    for key, number in {**dict.fromkeys(FULL, 0), **present}.items():
        numbers[tally_key("shop", "Purchase", "meta", key, PRESENT)] = number
        numbers[tally_key("shop", "Purchase", "meta", key, ABSENT)] = events - number
    for key, number in given.items():
        numbers[tally_key("shop", "Purchase", "meta", key, GIVEN)] = number
    return {key: Tally(number, at, at) for key, number in numbers.items() if number}


def of(days: Mapping[int, dict[str, Tally]], source: str | None = None) -> list[Row]:
    """The audit of so many days back."""
    tallies: dict[date, dict[str, Tally]] = {TODAY - timedelta(days=back): counts for back, counts in days.items()}
    return audit(tallies, TODAY, 9, {"meta": "meta"}, source)


def test_all_is_well() -> None:
    (row,) = of({0: day_of(100, FULL), 1: day_of(100, FULL)})
    assert words(row) == "Purchase at meta: every key that matters most is there"
    assert (row.drops(), row.costliest()) == ([], [])


def test_a_drop_is_told_with_yesterday_and_the_next_step() -> None:
    (row,) = of({0: day_of(100, {**FULL, "em": 61}), 1: day_of(100, {**FULL, "em": 92}, 1)})
    assert [each.key.name for each in row.drops()] == ["em"]
    assert words(row) == (
        "Purchase at meta: em 61 % (yesterday 92 %): a part of the events no longer carries it; have the backend send "
        "user.email with the event"
    )


def test_a_key_that_is_gone_says_since_when_and_counts_against_last_week() -> None:
    (row,) = of({0: day_of(100, {**FULL, "em": 0}), 1: day_of(3, {"em": 3}, 1), 7: day_of(50, {"em": 50}, 7)})
    assert words(row).startswith(
        "Purchase at meta: em 0 % (a week ago 100 %): it is no longer sent, last seen 2026-11-19 12:00 UTC; have the "
        "backend send user.email"
    )


def test_the_missing_keys_that_cost_most_come_first_and_name_the_page_where_it_has_them() -> None:
    (row,) = of({0: day_of(100, {**FULL, "ph": 20, "fbc": 3})})
    assert [each.key.name for each in row.costliest()] == ["ph", "fbc"]
    told = words(row)
    assert "ph 20 %: lowers Event Match Quality" in told
    assert "fbc 3 %: the conversion cannot be tied to the ad click itself; have the page pass user.fbc" in told
    assert "PUT /v1/contexts/{transaction_id}" in told
    assert "fbp" not in told


def test_few_events_are_not_compared() -> None:
    (row,) = of({0: day_of(4, {"em": 1}), 1: day_of(100, FULL, 1)})
    assert row.drops() == []
    assert "(only 4 events today: too few to compare)" in words(row)
    (row,) = of({1: day_of(100, FULL, 1)})
    assert words(row) == "Purchase at meta: no event today"


def test_the_lift_of_contexts_is_told() -> None:
    (row,) = of({0: day_of(100, FULL, given={"fbc": 38, "fbp": 41})})
    assert words(row).endswith("The contexts of the orders added fbp +41 %, fbc +38 %")
    assert next(each for each in row.keys if each.key.name == "fbp").on(TODAY).lift == 0.41


def test_keys_no_event_could_have_are_left_out_and_sources_are_apart() -> None:
    days = {0: day_of(100, FULL) | {tally_key("other", "Lead", "gone", ANY, PRESENT): Tally(1, START, START)}}
    (row,) = of(days)
    assert "madid" not in {each.key.name for each in row.keys}
    assert of(days, "other") == []
    assert of(days, "shop") == [row]


def test_the_week_before_is_taken_together() -> None:
    days = {0: day_of(100, {"em": 50}), **{back: day_of(100, {"em": 10 * back}, back) for back in range(1, 8)}}
    (row,) = of(days)
    em = row.keys[0]
    assert em.week_before(TODAY).coverage == 0.4
    assert em.on(TODAY - timedelta(days=7)).coverage == 0.7
