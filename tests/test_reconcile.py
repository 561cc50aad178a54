from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.errors import REASONS, Outcome
from app.reconcile import (
    MOST_DETAILS,
    MOST_IDS,
    Fate,
    Finding,
    Order,
    Report,
    Told,
    extras,
    judge,
    money_in_words,
    sentences,
    why_in_words,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)
EUR = ("EUR", Decimal("129.90"))
ORDER = Order("ORD-1", 2, EUR, NOW - timedelta(days=1))


def judged(told: Told | None, order: Order = ORDER) -> Finding:
    (found,) = judge(order, [{"meta": told}] if told is not None else [], ["meta"], SINCE)
    return found


@pytest.mark.parametrize(
    ("told", "fate", "reason"),
    [
        (Told("delivered"), Fate.DELIVERED, None),
        (Told("queued"), Fate.PENDING, None),
        (Told("retrying", "credentials"), Fate.PENDING, "credentials"),
        (Told("denied", "consent_missing"), Fate.DENIED, "consent_missing"),
        (Told("skipped", "too_old"), Fate.SKIPPED, "too_old"),
        (Told("dead", "rejected_by_platform", "bad currency"), Fate.DEAD, "rejected_by_platform"),
        (Told("expired", "dedup_window_passed"), Fate.EXPIRED, "dedup_window_passed"),
        (Told("withdrawn", "cancelled"), Fate.WITHDRAWN, "cancelled"),
        (Told("erased", "erasure_request"), Fate.ERASED, "erasure_request"),
        (Told("delivered", refused="EVENT_TOO_OLD"), Fate.REFUSED_LATER, None),
        (Told("held"), Fate.UNKNOWN, "held"),  # a word of a newer gateway
        (None, Fate.MISSING, None),
    ],
)
def test_every_outcome_is_a_fate(told: Told | None, fate: Fate, reason: str | None) -> None:
    found = judged(told)
    assert (found.fate, found.reason) == (fate, reason)


def test_every_outcome_there_is_has_a_fate() -> None:
    for outcome in Outcome:
        assert judged(Told(outcome)).fate is not Fate.UNKNOWN, outcome


def test_every_reason_has_words() -> None:
    for outcome, reasons in REASONS.items():
        for reason in reasons:
            words = why_in_words((judged(Told(outcome, reason)).fate, reason, None))
            assert "_" not in words, words


@pytest.mark.parametrize(
    ("placed_at", "fate", "reason"),
    [
        (SINCE, Fate.MISSING, None),
        (SINCE - timedelta(seconds=1), Fate.UNKNOWN, "older_than_journal"),
        (None, Fate.UNKNOWN, "no_time"),
    ],
)
def test_only_what_the_journal_would_know_is_missing(
    placed_at: datetime | None, fate: Fate, reason: str | None
) -> None:
    found = judged(None, Order("ORD-1", 2, EUR, placed_at))
    assert (found.fate, found.reason) == (fate, reason)


def test_an_old_order_the_journal_still_knows_is_told() -> None:
    assert judged(Told("delivered"), Order("ORD-1", 2, EUR, SINCE - timedelta(days=30))).fate is Fate.DELIVERED


@pytest.mark.parametrize(
    ("listed", "counted", "outcome", "differs"),
    [
        (EUR, ("EUR", Decimal("129.900000")), "delivered", False),
        (EUR, ("EUR", Decimal("129.91")), "delivered", True),
        (EUR, ("USD", Decimal("129.90")), "delivered", True),
        (EUR, ("EUR", Decimal(1)), "queued", True),
        (EUR, ("EUR", Decimal(1)), "dead", False),  # it is not counted anywhere
        (EUR, None, "delivered", False),
        (None, EUR, "delivered", False),
    ],
)
def test_another_value_is_told_of_what_counts(listed: object, counted: object, outcome: str, differs: bool) -> None:
    order = Order("ORD-1", 2, listed, NOW)  # type: ignore[arg-type]
    assert judged(Told(outcome, money=counted), order).differs is differs  # type: ignore[arg-type]


def test_the_event_that_came_furthest_counts() -> None:
    events = [{"meta": Told("denied", "consent_missing")}, {"meta": Told("delivered")}, {"meta": Told("queued")}]
    (found,) = judge(ORDER, events, ["meta"], SINCE)
    assert found.fate is Fate.DELIVERED


def test_a_destination_is_judged_whether_it_is_configured_now_or_was() -> None:
    found = judge(ORDER, [{"old": Told("delivered")}], ["meta"], SINCE)
    assert [(each.destination, each.fate, each.reason) for each in found] == [
        ("meta", Fate.SKIPPED, "not_decided"),
        ("old", Fate.DELIVERED, None),
    ]


def test_currencies_are_never_added_together() -> None:
    report = Report()
    for number, money in enumerate([EUR, ("USD", Decimal(10)), ("EUR", Decimal("0.10"))]):
        report.add(Order(f"ORD-{number}", number, money, NOW), [Finding("meta", Fate.MISSING)])
    assert report.account("meta").total(Fate.MISSING).money == {"EUR": Decimal("130.00"), "USD": Decimal(10)}
    (_, lost) = sentences("meta", report.account("meta"))
    assert lost == (
        "3 orders, 130.00 EUR and 10.00 USD, did not reach meta: 130.00 EUR and 10.00 USD never posted, "
        "or refused as invalid."
    )


def test_the_sentence_names_each_cause_with_its_money() -> None:
    report = Report()
    causes = [
        *[Finding("tiktok", Fate.DELIVERED)] * 2,
        *[Finding("tiktok", Fate.DENIED, "consent_purpose_missing", "MAP_DENIED")] * 3,
        *[Finding("tiktok", Fate.MISSING)] * 2,
        Finding("tiktok", Fate.DEAD, "rejected_by_platform", "bad currency"),
        Finding("tiktok", Fate.PENDING, "credentials"),
        Finding("tiktok", Fate.UNKNOWN, "older_than_journal"),
    ]
    for number, finding in enumerate(causes):
        report.add(Order(f"ORD-{number}", number, ("EUR", Decimal(1000)), NOW), [finding])
    report.add_extra("X-1", extras({"tiktok": Told("delivered", money=EUR)}))
    assert sentences("tiktok", report.account("tiktok")) == [
        "2 orders, 2,000.00 EUR, reached tiktok.",
        "6 orders, 6,000.00 EUR, did not reach tiktok: 3,000.00 EUR no consent, 2,000.00 EUR never posted, "
        "or refused as invalid, 1,000.00 EUR rejected: bad currency.",
        "1 order, 1,000.00 EUR: on the way, after credentials.",
        "1 order, 1,000.00 EUR: older than the journal.",
        "1 order, 129.90 EUR, posted but not in the list.",
    ]
    assert report.listed.orders == 10


@pytest.mark.parametrize("placed_at", [NOW, None, SINCE - timedelta(days=30)])
def test_an_order_that_was_posted_as_another_event_is_told_so(placed_at: datetime | None) -> None:
    order = Order("ORD-1", 2, EUR, placed_at)
    (found,) = judge(order, [], ["meta"], SINCE, ["order_complete", "Refund", "order_complete"])
    assert why_in_words((found.fate, found.reason, found.detail)) == "posted as Refund, order_complete"
    report = Report()
    report.add(order, [found])
    assert not report.is_right
    assert "posted as Refund, order_complete" in sentences("meta", report.account("meta"))[1]
    (found,) = judge(order, [{"meta": Told("delivered")}], ["meta"], SINCE, ["Purchase", "Refund"])
    assert found.fate is Fate.DELIVERED


HELD = Told("queued", is_held=True)
CANCELLED = Told("withdrawn", "cancelled")


@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        ({"meta": HELD}, True),
        ({"meta": CANCELLED}, True),
        ({"meta": CANCELLED, "tiktok": Told("denied", "consent_missing")}, True),
        ({"meta": HELD, "tiktok": Told("skipped", "identifiers_missing")}, True),
        ({"meta": CANCELLED, "tiktok": Told("delivered")}, False),  # it counts there all the same
        ({"meta": Told("withdrawn", "consent_withdrawn")}, False),
        ({"meta": Told("queued")}, False),
    ],
)
def test_an_order_that_is_rightly_not_in_the_list_is_not_wrong(told: dict[str, Told], is_right: bool) -> None:
    report = Report()
    report.add_extra("X-1", extras(told))
    assert report.is_right is is_right


def test_a_held_order_is_told_as_held_and_one_that_goes_as_on_the_way() -> None:
    found = [judged(HELD), judged(Told("queued"))]
    assert [each.fate for each in found] == [Fate.PENDING, Fate.PENDING]
    assert [why_in_words((each.fate, each.reason, None)) for each in found] == ["held", "on the way"]


@pytest.mark.parametrize(
    ("finding", "is_right"),
    [
        (Finding("meta", Fate.DELIVERED), True),
        (Finding("meta", Fate.DENIED, "consent_missing"), True),
        (Finding("meta", Fate.PENDING), True),
        (Finding("meta", Fate.UNKNOWN, "no_time"), True),
        (Finding("meta", Fate.MISSING), False),
        (Finding("meta", Fate.DEAD, "attempts_exhausted"), False),
        (Finding("meta", Fate.EXPIRED, "dedup_window_passed"), False),
        (Finding("meta", Fate.REFUSED_LATER), False),
        (Finding("meta", Fate.DELIVERED, counted=("EUR", Decimal(1)), differs=True), False),
    ],
)
def test_what_has_to_be_looked_into(finding: Finding, is_right: bool) -> None:
    report = Report()
    report.add(ORDER, [finding])
    assert report.is_right is is_right


def test_memory_has_bounds_and_the_counts_have_none() -> None:
    report = Report()
    for number in range(3 * MOST_IDS):
        report.add(
            Order(f"ORD-{number}", number), [Finding("meta", Fate.DEAD, "rejected_by_platform", f"word{number}")]
        )
    account = report.account("meta")
    assert len(account.figures) == MOST_DETAILS + 1
    assert account.total(Fate.DEAD).orders == 3 * MOST_IDS
    assert max(len(figure.order_ids) for figure in account.figures.values()) == MOST_IDS


def test_what_a_platform_quotes_of_an_order_is_no_cause_of_its_own() -> None:
    report = Report()
    for number in range(3):
        words = f"Batch.{number}.properties.order_id: is not valid, got 'ORD-{number}'"
        report.add(Order(f"ORD-{number}", number), [Finding("tiktok", Fate.DEAD, "rejected_by_platform", words)])
    ((why, figure),) = report.account("tiktok").sorted()
    assert why_in_words(why) == "rejected: Batch.….properties.order_id: is not valid, got …"
    assert figure.orders == 3


def test_amounts_have_cents_where_the_currency_has_them() -> None:
    told = money_in_words({"EUR": Decimal(1234), "JPY": Decimal(1500), "USD": Decimal("0.125")})
    assert told == "1,234.00 EUR and 1,500 JPY and 0.125 USD"
