"""Event names: standard ones in any spelling, well-known aliases, and the caller's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.event_names import CUSTOM, STANDARD_EVENTS, canonical_name, label

LISTED = (
    "Purchase Lead AddToCart InitiateCheckout AddPaymentInfo AddToWishlist CompleteRegistration ViewContent Search "
    "PageView Subscribe StartTrial Contact Schedule SubmitApplication FindLocation CustomizeProduct Donate Refund"
).split()


def test_the_standard_names_are_the_published_ones() -> None:
    assert list(STANDARD_EVENTS) == LISTED


@pytest.mark.parametrize("name", STANDARD_EVENTS)
def test_a_standard_name_in_any_spelling(name: str) -> None:
    assert canonical_name(name) == (name, False)
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in name).strip()
    spellings = {
        name.lower(),
        name.upper(),
        words,
        words.replace(" ", "_").lower(),
        words.replace(" ", "-"),
        f" {name} ",
    }
    for spelling in spellings:
        assert canonical_name(spelling) == (name, False), spelling


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("Order Completed", "Purchase"),
        ("purchase", "Purchase"),
        ("CompletePayment", "Purchase"),
        ("PlaceAnOrder", "Purchase"),
        ("generate_lead", "Lead"),
        ("SubmitForm", "Lead"),
        ("Product Added", "AddToCart"),
        ("ADD_CART", "AddToCart"),
        ("checkout", "InitiateCheckout"),
        ("begin_checkout", "InitiateCheckout"),
        ("START_CHECKOUT", "InitiateCheckout"),
        ("ADD_BILLING", "AddPaymentInfo"),
        ("Product Added to Wishlist", "AddToWishlist"),
        ("sign_up", "CompleteRegistration"),
        ("view_item", "ViewContent"),
        ("Products Searched", "Search"),
        ("page_visit", "PageView"),
        ("Trial Started", "StartTrial"),
        ("Application Submitted", "SubmitApplication"),
        ("Subscription Started", "Subscribe"),
        ("donation", "Donate"),
        ("Order Refunded", "Refund"),
    ],
)
def test_well_known_aliases(alias: str, name: str) -> None:
    assert canonical_name(alias) == (name, False)


@pytest.mark.parametrize("name", ["Tea Tasting", "purchases", "Purchase2", "Repurchase", "order", "ViewCart", "login"])
def test_other_names_are_the_callers_own(name: str) -> None:
    assert canonical_name(name) == (name, True)


def test_the_callers_own_name_is_trimmed() -> None:
    assert canonical_name("  Tea Tasting ") == ("Tea Tasting", True)


def test_labels_are_a_closed_set() -> None:
    assert {label(name) for name in STANDARD_EVENTS} == set(STANDARD_EVENTS)
    assert label("Tea Tasting") == label("purchase") == label("") == CUSTOM
    assert CUSTOM not in STANDARD_EVENTS


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_a_canonical_name_is_its_own(name: str) -> None:
    canonical, is_custom = canonical_name(name)
    assert canonical_name(canonical) == (canonical, is_custom)
    assert is_custom == (canonical not in STANDARD_EVENTS)
