"""What becomes of two copies of one event, judged as a table, and told in words."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.dedup.audit import audit, words
from app.dedup.pairs import (
    CANCELLED,
    CONFLICT,
    SERVER,
    Pair,
    PairVerdict,
    Sighting,
    change,
    decode_sighting,
    encode_sighting,
    judge,
    tally,
    tally_key,
)
from tests.factories import START

PLATFORMS = {"meta": "meta", "meta-two": "meta", "pinterest": "pinterest", "tiktok": "tiktok"}
NAMES = {"meta": "Purchase", "meta-two": "Purchase", "pinterest": "add_to_cart", "tiktok": "Purchase"}


def server(**over: Any) -> Sighting:
    """The server's copy, as sent everywhere."""
    fields: dict[str, Any] = {
        "at": START,
        "names": dict(NAMES),
        "currency": "USD",
        "value": Decimal("10.00"),
        "transaction": "ORD-1",
        "event_name": "Purchase",
    }
    return Sighting(**{**fields, **over})


def receipt(platform: str, name: str = "Purchase", after: timedelta = timedelta(0), **over: Any) -> Sighting:
    """What the pixel of a platform reported, some time after the server's copy was taken."""
    return Sighting(at=START + after, names={platform: name}, **over)


def verdicts(**sides: Sighting) -> dict[str, str]:
    """The verdict at each destination."""
    pair = Pair("shop", "purchase_ORD-1", sides, {})
    return {told.destination: told.verdict.value for told in judge(pair, PLATFORMS)}


def test_every_destination_of_a_platform_pairs_with_its_pixel() -> None:
    assert verdicts(server=server(), meta=receipt("meta")) == {
        "meta": "paired",
        "meta-two": "paired",
        "pinterest": "server_only",
        "tiktok": "server_only",
    }


def test_a_pixel_alone_is_told_where_its_platform_is() -> None:
    assert verdicts(tiktok=receipt("tiktok", "CompletePayment")) == {"tiktok": "browser_only"}


def test_a_copy_that_was_refused_here_leaves_the_pixel_alone() -> None:
    sides = {SERVER: server(names={"meta": "Purchase"}), "tiktok": receipt("tiktok")}
    assert verdicts(**sides) == {"meta": "server_only", "tiktok": "browser_only"}


def test_what_was_cancelled_before_it_was_sent_leaves_the_pixel_alone() -> None:
    cancelled = Sighting(at=START, names={"meta": "Purchase", "tiktok": "Purchase"}, event_name="Purchase")
    sides = {SERVER: server(), CANCELLED: cancelled, "meta": receipt("meta")}
    assert verdicts(**sides) == {"meta": "browser_only", "meta-two": "paired", "pinterest": "server_only"}
    # Another event under the same id is none of its business.
    other = Sighting(at=START, names={"meta": "Lead"}, event_name="Lead")
    assert verdicts(**{SERVER: server(), CANCELLED: other, "meta": receipt("meta")})["meta"] == "paired"


@pytest.mark.parametrize(
    ("platform", "name", "verdict"),
    [
        ("tiktok", "CompletePayment", "name_mismatch"),
        ("tiktok", "Purchase", "paired"),
        ("tiktok", "purchase", "paired"),
        ("pinterest", "addtocart", "paired"),
        ("pinterest", "AddToCart", "paired"),
        ("pinterest", "checkout", "name_mismatch"),
    ],
)
def test_names_are_compared_as_the_platform_spells_them(platform: str, name: str, verdict: str) -> None:
    assert verdicts(server=server(), **{platform: receipt(platform, name)})[platform] == verdict


@pytest.mark.parametrize(
    ("currency", "value", "verdict"),
    [
        ("USD", "10", "paired"),
        ("usd", "10.0", "paired"),
        (None, "10.00", "paired"),
        (None, None, "paired"),
        ("EUR", None, "paired"),
        ("EUR", "10.00", "value_mismatch"),
        ("USD", "10.01", "value_mismatch"),
        ("USD", "0", "value_mismatch"),
    ],
)
def test_values_are_compared_where_both_tell_one(currency: str | None, value: str | None, verdict: str) -> None:
    told = receipt("meta", currency=currency, value=None if value is None else Decimal(value))
    assert verdicts(server=server(), meta=told)["meta"] == verdict


def test_a_tally_has_verdict_delay_and_the_pixel_s_name() -> None:
    late = receipt("tiktok", "CompletePayment", after=-timedelta(hours=3))
    pair = Pair("shop", "x", {SERVER: server(names={"tiktok": "Purchase"}), "tiktok": late}, {})
    where = ("2026-11-20", "shop", "Purchase", "tiktok")
    assert tally(pair, PLATFORMS) == {
        tally_key(*where, "name_mismatch"): 1,
        tally_key(*where, "delay:24h"): 1,
        tally_key(*where, "name:CompletePayment"): 1,
    }


def test_conflicts_are_told_apart_by_whether_the_id_is_somebody_s() -> None:
    other = Sighting(at=START, names={}, transaction="ORD-2", event_name="Purchase")
    reused = Pair("shop", "x", {SERVER: server(), f"{CONFLICT}ORD-2": other, f"{CONFLICT}ORD-3": other}, {})
    assert tally(reused, {})[tally_key("2026-11-20", "shop", "Purchase", "", "conflict:id_reused")] == 2
    another = Pair("shop", "y", {f"{CONFLICT}ORD-1": other}, {})
    assert tally(another, {}) == {tally_key("2026-11-20", "shop", "Purchase", "", "conflict:order_has_another_id"): 1}


def test_a_change_takes_back_what_was_counted_before() -> None:
    assert change({"a": 1, "b": 1}, {"b": 1, "c": 2}) == {"a": -1, "c": 2}
    assert change({}, {}) == {}


def test_a_sighting_reads_back() -> None:
    assert decode_sighting(encode_sighting(server())) == server()


def test_the_audit_sums_days_and_says_it_in_words() -> None:
    def key(day: int, what: str) -> str:
        return tally_key(f"2026-11-{day}", "shop", "Purchase", "tiktok", what)

    tallies = {
        key(19, PairVerdict.PAIRED): 900,  # before the first day
        key(20, PairVerdict.PAIRED): 60,
        key(21, PairVerdict.PAIRED): 36,
        key(21, PairVerdict.BROWSER_ONLY): 3,
        key(21, PairVerdict.NAME_MISMATCH): 1,
        key(21, "name:CompletePayment"): 1,
        key(20, "delay:5m"): 60,
        tally_key("2026-11-20", "other", "Purchase", "tiktok", PairVerdict.PAIRED): 5,
        tally_key("2026-11-20", "shop", "Purchase", "", "conflict:id_reused"): 2,
    }
    told = audit(tallies, "2026-11-20", "2026-11-21", "shop")
    (row,) = told.rows
    assert (row.total, row.pair_rate, row.delays) == (100, 0.96, {"5m": 60})
    assert words(row) == (
        "Purchase at tiktok: 96 % paired. 3 % browser-only: the backend posts late, not at all, or the server copy was "
        "refused. 1 % name mismatch: both copies count; the pixel says CompletePayment"
    )
    assert [(each.id_reused, each.order_has_another_id) for each in told.conflicts] == [(2, 0)]
    assert len(audit(tallies, "2026-11-19", "2026-11-21").rows) == 2


def test_what_is_there_is_never_shown_as_nothing() -> None:
    tallies = {
        tally_key("2026-11-20", "shop", "Purchase", "meta", PairVerdict.PAIRED): 9999,
        tally_key("2026-11-20", "shop", "Purchase", "meta", PairVerdict.SERVER_ONLY): 1,
    }
    (row,) = audit(tallies, "2026-11-20", "2026-11-20").rows
    assert "<1 % server-only" in words(row)
