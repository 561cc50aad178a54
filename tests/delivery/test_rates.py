"""Token buckets that many draw on."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import msgspec
import pytest

from app.delivery import rates
from app.delivery.rates import Bucket
from app.destinations.base import Rate
from tests.factories import START

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
GOOGLE = (Rate(300, MINUTE), Rate(100_000, DAY))


@pytest.mark.parametrize(
    ("rate", "most"),
    [(Rate(300, MINUTE), 30), (Rate(100_000, DAY), 10_000), (Rate(5, MINUTE), 1), (Rate(1, timedelta(hours=1)), 1)],
)
def test_a_bucket_begins_full(rate: Rate, most: int) -> None:
    assert rates.room(rates.refilled(None, [rate], START)) == rates.capacity(rate) == most


@pytest.mark.parametrize("amount", [1, 2, 7, 60])
@pytest.mark.parametrize("seed", range(3))
def test_no_span_of_the_window_lets_more_pass(amount: int, seed: int) -> None:
    """Whoever asks as often as possible, with pauses that fill the bucket."""
    rate = (Rate(amount, MINUTE),)
    chance = random.Random(seed)
    bucket: Bucket | None = None
    now, went = START, []
    for _ in range(amount * 6):
        fresh = rates.refilled(bucket, rate, now)
        if rates.room(fresh):
            bucket = rates.spent(fresh, 1)
            went.append(now)
            if chance.random() < 2 / amount:
                now += chance.choice([SECOND, 10 * SECOND, 55 * SECOND])
        else:
            bucket = fresh
            now += rates.wait(fresh, rate)
    most = max(sum(1 for each in went if first <= each < first + MINUTE) for first in went)
    assert most <= amount
    assert most >= amount * 0.7 or amount < 5, "and most of it can be used"


def test_every_window_holds() -> None:
    day_is_spent = Bucket((30.0, 0.5), START)
    assert rates.room(day_is_spent) == 0
    assert rates.wait(day_is_spent, GOOGLE) == timedelta(milliseconds=480)
    assert rates.wait(Bucket((1.0, 1.0), START), GOOGLE) == timedelta(0)


def test_what_is_missing_is_made_up_for_first() -> None:
    rate = (Rate(60, MINUTE),)
    owing = rates.spent(rates.refilled(None, rate, START), 20)
    assert rates.room(owing) == 0
    wait = rates.wait(owing, rate)
    assert rates.room(rates.refilled(owing, rate, START + wait)) == 1
    assert rates.room(rates.refilled(owing, rate, START + wait - timedelta(milliseconds=2))) == 0


@pytest.mark.parametrize("now", [START - 10 * SECOND, START])
def test_a_clock_that_is_behind_adds_nothing(now: datetime) -> None:
    empty = Bucket((0.0,), START)
    assert rates.refilled(empty, GOOGLE[:1], now) == empty


def test_other_windows_begin_anew() -> None:
    assert rates.refilled(Bucket((0.0,), START), GOOGLE, START).tokens == (30.0, 10_000.0)
    assert rates.refilled(Bucket((500.0,), START), GOOGLE[:1], START).tokens == (30.0,)


def test_a_bucket_is_kept_as_it_is() -> None:
    bucket = Bucket((29.5, -3.25), START)
    assert msgspec.json.decode(msgspec.json.encode(bucket), type=Bucket) == bucket
