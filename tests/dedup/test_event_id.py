"""Derived event ids: readable, the same everywhere, and one per event."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dedup.event_id import (
    DEFAULT_TEMPLATE,
    derive,
    derive_without_key,
    faults_of_template,
    snake_case,
)
from app.event_names import STANDARD_EVENTS


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Purchase", "purchase"),
        ("AddToCart", "add_to_cart"),
        ("StartTrial", "start_trial"),
        ("PageView", "page_view"),
        ("My Event!", "my_event"),
        ("  padded  ", "padded"),
        ("HTMLPage", "html_page"),
        ("Order2Go", "order2_go"),
        ("already_snake", "already_snake"),
        ("kebab-case", "kebab_case"),
        ("a--b__c", "a_b_c"),
        ("ÄÖ", "event"),
        ("購入", "event"),
        ("", "event"),
        ("___", "event"),
    ],
)
def test_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_standard_names_stay_apart() -> None:
    assert len({snake_case(name) for name in STANDARD_EVENTS}) == len(STANDARD_EVENTS)


@pytest.mark.parametrize(
    ("template", "occurrence", "derived"),
    [
        (DEFAULT_TEMPLATE, None, "purchase_ORD-12345"),
        (DEFAULT_TEMPLATE, "R-1", "purchase_ORD-12345_R-1"),
        (DEFAULT_TEMPLATE, "", "purchase_ORD-12345_"),
        ("{source}:{event_name}:{transaction}", None, "shop:purchase:ORD-12345"),
        ("{event_name}/{occurrence}/{transaction}", "R-1", "purchase/R-1/ORD-12345"),
        ("{event_name}/{occurrence}/{transaction}", None, "purchase//ORD-12345"),
    ],
)
def test_derive(template: str, occurrence: str | None, derived: str) -> None:
    assert derive(template, "shop", "Purchase", "ORD-12345", occurrence) == derived


@pytest.mark.parametrize("transaction", ["A B", "ä", "{event_name}", "{0}", "a{b", "100%", "x" * 200, "\\"])
def test_the_transaction_goes_in_verbatim(transaction: str) -> None:
    assert derive(DEFAULT_TEMPLATE, "shop", "Purchase", transaction, None) == f"purchase_{transaction}"


def test_without_a_key() -> None:
    given = derive_without_key("shop", "AddToCart", b"body")
    assert given == derive_without_key("shop", "AddToCart", b"body")
    assert given.startswith("add_to_cart_")
    others = {
        derive_without_key("shop", "AddToCart", b"body2"),
        derive_without_key("shop2", "AddToCart", b"body"),
        derive_without_key("shop", "Lead", b"body"),
    }
    assert len(others | {given}) == 4


def test_the_id_without_a_key_never_changes() -> None:
    """It is what a platform remembers: another algorithm would count events twice across an upgrade."""
    assert derive_without_key("shop", "Purchase", b"canonical") == "purchase_0d22ebcaefacee41483c241a"


@pytest.mark.parametrize("source", ["", "s", "s" * 64, "ä" * 40])
def test_any_source_can_be_the_key(source: str) -> None:
    assert len(derive_without_key(source, "Purchase", b"")) == len("purchase_") + 24


@pytest.mark.parametrize(
    "template", [DEFAULT_TEMPLATE, "{source}-{event_name}-{transaction}-{occurrence}", "{{x}}{event_name}{transaction}"]
)
def test_good_templates(template: str) -> None:
    assert faults_of_template(template) == []
    assert "ORD-1" in derive(template, "shop", "Purchase", "ORD-1", "R-1")


@pytest.mark.parametrize(
    "template",
    [
        "",
        "purchase",
        "{event_name}",
        "{transaction}",
        "{event_name}_{transaction",
        "{event_name}_{transaction}}",
        "{event_name}_{transaction}_{time}",
        "{event_name}_{transaction}_{}",
        "{event_name}_{transaction}_{0}",
        "{event_name}_{transaction.__class__}",
        "{event_name}_{transaction[0]}",
    ],
)
def test_bad_templates(template: str) -> None:
    (fault,) = faults_of_template(template)
    assert fault


@pytest.mark.parametrize(
    "template", ["{event_name!r}_{transaction}", "{event_name}_{transaction:d}", "{event_name:>9}_{transaction}"]
)
def test_a_template_with_a_conversion_or_format_is_refused(template: str) -> None:
    """It would fail, or not be verbatim, at the first event instead of at the start."""
    assert faults_of_template(template)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=20), st.text(min_size=1, max_size=20), st.none() | st.text(min_size=1, max_size=10))
def test_any_transaction_gives_an_id(name: str, transaction: str, occurrence: str | None) -> None:
    derived = derive(DEFAULT_TEMPLATE, "shop", name, transaction, occurrence)
    assert derived.startswith(f"{snake_case(name)}_{transaction}")
