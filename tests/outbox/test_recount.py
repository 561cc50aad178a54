"""The comparison of counts: what is a difference, and what evens out."""

from __future__ import annotations

from decimal import Decimal

from app.outbox.recount import DEAD, PENDING, PURGED, Difference, Sum, compare, merged

EUR = Sum(2, Decimal("3.50"))


def test_equal_sides_do_not_differ() -> None:
    assert compare({("meta", PENDING, "EUR"): EUR}, {("meta", PENDING, "EUR"): Sum(2, Decimal("3.5"))}) == []


def test_nothing_is_as_good_as_zero() -> None:
    assert compare({("meta", PENDING, "EUR"): Sum()}, {}) == []


def test_purged_ones_are_dead_and_not_there() -> None:
    counted = {("meta", DEAD, "EUR"): EUR, ("meta", PURGED, "EUR"): Sum(1, Decimal(3))}
    assert compare(counted, {("meta", DEAD, "EUR"): Sum(1, Decimal("0.5"))}) == []


def test_other_states_are_left_alone() -> None:
    assert compare({("meta", "delivered", "EUR"): EUR, ("meta", "queued", ""): EUR}, {}) == []


def test_deliveries_are_compared_over_all_currencies_and_money_in_each() -> None:
    stored = {("meta", PENDING, "USD"): Sum(2, Decimal("3.50"))}
    assert compare({("meta", PENDING, "EUR"): EUR}, stored) == [
        Difference("meta", PENDING, "EUR", Decimal("3.50"), Decimal(0)),
        Difference("meta", PENDING, "USD", Decimal(0), Decimal("3.50")),
    ]
    assert compare({("meta", PENDING, "EUR"): EUR}, stored, with_money=False) == []


def test_what_is_stored_and_not_counted_differs() -> None:
    (difference,) = compare({}, {("meta", DEAD, ""): Sum(1)})
    assert (difference.counted, difference.stored, difference.by) == (Decimal(0), Decimal(1), Decimal(-1))


def test_differences_of_parts_are_added_up() -> None:
    parts = [
        Difference("meta", DEAD, None, Decimal(3), Decimal(2)),
        Difference("meta", DEAD, None, Decimal(5), Decimal(4)),
    ]
    assert merged(parts) == (Difference("meta", DEAD, None, Decimal(8), Decimal(6)),)
