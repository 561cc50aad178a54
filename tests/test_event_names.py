"""Event names: standard ones in any spelling, well-known aliases, and the caller's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.event_names import CUSTOM, STANDARD_EVENTS, canonical_name, label, meant_name

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


RESEMBLING = {
    "Purchase": "purchased Purchases PurchaseCompleted purchase_success PurchaseEvent purchase_v2 Order_Complete "
    "CompleteOrder PlaceOrder purchse Purcahse CheckoutComplete",
    "AddToCart": "AddedToCart add_to_basket addedtocart AddToCarts CartAdd",
    "ViewContent": "ViewedContent ContentView viewcontents",
    "PageView": "pageviews",
    "InitiateCheckout": "InitiatedCheckout CheckoutInitiated InitiateChekout",
    "Lead": "Leads LeadGenerated",
    "CompleteRegistration": "RegistrationComplete CompletRegistration",
    "CustomizeProduct": "CustomisedProduct",
    "StartTrial": "TrialStart StartedTrial",
}
OTHERS = (
    "PurchaseRefundRequested LeadScore SearchFilterUsed ViewedContentList PurchaseFailed PurchaseCancelled "
    "Unsubscribe UnSubscribed Research Contract ContractSigned Reschedule Repurchase Prepurchase "
    "RemoveFromCart CartAbandoned AddToCartFailed InitiateCheckoutFail AddPaymentInfoError PageViewDuration "
    "SubscribeNewsletter TrialEnded StartTrialReminder ScheduleCall ContactForm LeaderboardViewed Leader "
    "Loads Login Scheduler Purchaser FormSubmitFailed VideoPlayed AppInstall Share ContentShared "
    "WishesGranted Order Product Cart RefundRequested SearchResultClicked PaymentFailed LocationAllowed "
    "LeadQualified Closed_Won quote_requested Success Complete Event PurchaseIntent ViewCart ProductRemoved "
    "Searchlight Content Subscription_Cancelled Customization CouponApplied 123 Download Rate Logout Donor "
    "DonateLater MQL sign_in AddShippingInfo PageLeave Page_Exit Contacts_Imported "
    # GA4's and Segment's own names for other things
    "add_shipping_info close_convert_lead close_unconvert_lead disqualify_lead earn_virtual_currency "
    "join_group level_end level_start post_score qualify_lead remove_from_cart select_content select_item "
    "select_promotion spend_virtual_currency tutorial_begin tutorial_complete unlock_achievement view_cart "
    "view_item_list view_promotion working_lead first_visit session_start user_engagement video_complete "
    "file_download form_start ProductListViewed ProductListFiltered PromotionViewed ProductClicked "
    "CartViewed CheckoutStepCompleted OrderUpdated OrderCancelled CouponEntered CartShared ProductReviewed "
    "level_up login click scroll video_start ad_impression "
).split()


@pytest.mark.parametrize(
    ("name", "meant"), [(name, meant) for meant, names in RESEMBLING.items() for name in names.split()]
)
def test_a_custom_name_that_looks_like_a_standard_one(name: str, meant: str) -> None:
    assert canonical_name(name) == (name, True)
    assert meant_name(name) == meant


def test_names_of_other_things_are_left_alone() -> None:
    assert len(OTHERS) > 100
    assert {name: meant_name(name) for name in OTHERS if meant_name(name) is not None} == {}


@pytest.mark.parametrize("name", ["Purchase 14155552671", "Purchase 06 12 34 56 78", "purchase jane", "a" * 200])
def test_a_name_that_may_hold_what_is_somebodys_resembles_nothing(name: str) -> None:
    assert meant_name(name) is None


@given(st.text(max_size=100))
def test_whatever_it_is_called_a_name_has_an_answer(name: str) -> None:
    assert meant_name(name) in {None, *STANDARD_EVENTS}
