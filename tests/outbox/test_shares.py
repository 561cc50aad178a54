"""Shares of a claim, as tables."""

from __future__ import annotations

from fractions import Fraction

import pytest

from app.outbox.shares import Choice, Group, Queue, divide, queue_of, quota, split_ends

SHOP, APP, POS = Group(False, "shop"), Group(False, "app"), Group(False, "pos")
SHOP_BULK, APP_BULK = Group(True, "shop"), Group(True, "app")
TENTH = Fraction(1, 10)


@pytest.mark.parametrize(
    ("ready", "limit", "taken"),
    [
        ({}, 10, {}),
        ({SHOP: 3}, 10, {SHOP: 3}),
        ({SHOP: 10}, 10, {SHOP: 10}),
        # sources share evenly, and what one cannot use goes to the others
        ({SHOP: 100, APP: 100}, 100, {SHOP: 50, APP: 50}),
        ({SHOP: 100, APP: 2}, 100, {SHOP: 98, APP: 2}),
        ({SHOP: 100, APP: 2, POS: 40}, 100, {SHOP: 58, APP: 2, POS: 40}),
        ({SHOP: 100, APP: 100, POS: 100}, 100, {SHOP: 33, APP: 34, POS: 33}),
        ({SHOP: 1, APP: 1}, 100, {SHOP: 1, APP: 1}),
        # bulk has its share while live events wait, and no more
        ({SHOP: 100, SHOP_BULK: 100}, 100, {SHOP: 90, SHOP_BULK: 10}),
        ({SHOP: 95, SHOP_BULK: 100}, 100, {SHOP: 90, SHOP_BULK: 10}),
        ({SHOP: 100, SHOP_BULK: 3}, 100, {SHOP: 97, SHOP_BULK: 3}),
        ({SHOP: 100, SHOP_BULK: 100, APP_BULK: 100}, 100, {SHOP: 90, SHOP_BULK: 5, APP_BULK: 5}),
        # and all that live events leave
        ({SHOP: 20, SHOP_BULK: 100}, 100, {SHOP: 20, SHOP_BULK: 80}),
        ({SHOP_BULK: 100}, 100, {SHOP_BULK: 100}),
        ({SHOP_BULK: 100, APP_BULK: 100}, 100, {SHOP_BULK: 50, APP_BULK: 50}),
        # a claim too small for a share
        ({SHOP: 1, SHOP_BULK: 1}, 1, {SHOP: 1, SHOP_BULK: 0}),
        ({SHOP: 9, SHOP_BULK: 9}, 9, {SHOP: 9, SHOP_BULK: 0}),
    ],
)
def test_one_claim(ready: dict[Group, int], limit: int, taken: dict[Group, int]) -> None:
    assert divide(ready, limit, Choice()) == taken
    assert sum(taken.values()) == min(limit, sum(ready.values()))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_over_many_turns_every_share_is_exact(limit: int) -> None:
    ready = {SHOP: limit, APP: limit, SHOP_BULK: limit}
    taken = dict.fromkeys(ready, 0)
    for turn in range(600):
        for group, number in divide(ready, limit, Choice(turn=turn)).items():
            taken[group] += number
    assert taken[SHOP_BULK] == 60 * limit
    assert abs(taken[SHOP] - taken[APP]) <= 120, "what does not divide goes round"
    assert sum(taken.values()) == 600 * limit


@pytest.mark.parametrize(
    ("limit", "share", "quotas"),
    [
        (1, TENTH, [0] * 9 + [1] + [0] * 9 + [1]),
        (5, TENTH, [0, 1, 0, 1]),
        (100, TENTH, [10, 10]),
        (7, Fraction(1, 4), [1, 2, 2, 2, 1]),
        (10, Fraction(0), [0, 0]),
        (10, Fraction(1), [10, 10]),
    ],
)
def test_a_small_share_comes_in_turns(limit: int, share: Fraction, quotas: list[int]) -> None:
    assert [quota(limit, share, turn) for turn in range(len(quotas))] == quotas


@pytest.mark.parametrize(
    ("choice", "take", "ends"),
    [
        (Choice(), 100, (100, 0)),
        (Choice(is_newest_first=True), 100, (25, 75)),
        (Choice(is_newest_first=True), 1, (0, 1)),
        (Choice(is_newest_first=True, turn=3), 1, (1, 0)),
    ],
)
def test_the_newest_leave_a_share_to_the_oldest(choice: Choice, take: int, ends: tuple[int, int]) -> None:
    assert split_ends(take, choice) == ends


def test_events_of_other_names_wait_together() -> None:
    assert queue_of("shop", "Purchase", is_bulk=False) == Queue("shop", "Purchase")
    assert queue_of("shop", "SpinTheWheel", is_bulk=True) == Queue("shop", "custom", is_bulk=True)
