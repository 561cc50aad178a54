"""The standard event names, and the well-known aliases that mean one of them.

Ad platforms train on standard events; a custom name opts out of their models. So an alias is mapped and the caller
is told, and a name nobody knows stays the caller's own. What each platform calls them is its adapter's data.
"""

from __future__ import annotations

import re
from functools import lru_cache

STANDARD_EVENTS = (
    "Purchase",
    "Lead",
    "AddToCart",
    "InitiateCheckout",
    "AddPaymentInfo",
    "AddToWishlist",
    "CompleteRegistration",
    "ViewContent",
    "Search",
    "PageView",
    "Subscribe",
    "StartTrial",
    "Contact",
    "Schedule",
    "SubmitApplication",
    "FindLocation",
    "CustomizeProduct",
    "Donate",
    "Refund",
)

CUSTOM = "custom"
"""What metrics call every name that is not standard."""

# Names other trackers use for the same thing: analytics.js and GA4 e-commerce, TikTok before May 2025, Pinterest and
# Snapchat. Compared without case, spaces, hyphens and underscores.
_ALIASES = {
    "Purchase": ("order completed", "completed order", "complete payment", "place an order", "order placed"),
    "Lead": ("generate lead", "submit form", "lead submitted", "form submitted"),
    "AddToCart": ("product added", "add cart"),
    "InitiateCheckout": ("checkout started", "checkout", "begin checkout", "start checkout"),
    "AddPaymentInfo": ("payment info entered", "add billing"),
    "AddToWishlist": ("product added to wishlist",),
    "CompleteRegistration": ("sign up", "signed up", "registration", "signup completed"),
    "ViewContent": ("product viewed", "view item"),
    "Search": ("products searched", "view search results"),
    "PageView": ("page viewed", "page visit", "page"),
    "StartTrial": ("trial started",),
    "SubmitApplication": ("application submitted",),
    "Subscribe": ("subscription started",),
    "Donate": ("donation",),
    "Refund": ("order refunded",),
}


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()


_BY_FOLDED = {_fold(name): name for name in STANDARD_EVENTS} | {
    _fold(alias): name for name, aliases in _ALIASES.items() for alias in aliases
}
_STANDARD = frozenset(STANDARD_EVENTS)


@lru_cache(maxsize=1024)
def canonical_name(name: str) -> tuple[str, bool]:
    """The canonical name for what the caller wrote, and whether it is a custom event.

    A standard name in any spelling, or an alias, gives the standard name. Anything else comes back trimmed.
    """
    if name in _STANDARD:
        return name, False
    standard = _BY_FOLDED.get(_fold(name))
    return (standard, False) if standard else (name.strip(), True)


def label(event_name: str) -> str:
    """The name fit for a metric's label: a standard name, else `custom`."""
    return event_name if event_name in _STANDARD else CUSTOM
