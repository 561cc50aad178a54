"""The standard event names, and the well-known aliases that mean one of them.

Ad platforms train on standard events; a custom name opts out of their models. So an alias is mapped and the caller
is told, and a name nobody knows stays the caller's own. What each platform calls them is its adapter's data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
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


# --- custom names that look like standard ones ------------------------------------------------------------------

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")
_VERSION = re.compile(r"\d\d?")
"""The one number a name may end with, perhaps after a `v`; anything longer may be somebody's."""
_FILLERS = frozenset({"a", "an", "the", "to", "event"})
_DONE = frozenset({"complete", "completed", "success", "successful", "succeeded"})
"""What a standard name may have more, and still mean itself."""
_SAME = {"basket": "cart", "bag": "cart"}
_MEANT = {"checkout complete": "Purchase", "checkout success": "Purchase"}
"""Names that would else be taken for another one: what is complete is more than begun."""
LONGEST = 60
"""Names longer than that are nobody's misspelling."""
_TYPO_FROM = 8
"""Words from which a misspelling can be told from another word (`contact` and `contract` are both)."""
_TYPO_RATIO = 0.87


def _stem(word: str) -> str:
    """A word without the endings of English verbs and plurals, for comparing with others treated alike."""
    word = _SAME.get(word, word)
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 2 and word[-1] == word[-2] else word


def _words(name: str) -> list[str]:
    words = [word.lower() for word in _WORD.findall(name)]
    if len(words) > 1 and _VERSION.fullmatch(words[-1]):
        words = words[: -2 if words[-2] == "v" else -1]
    return [word for word in words if word not in _FILLERS]


def _stems(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(map(_stem, words)))


_STANDARD_BY_STEMS = {_stems(_words(name)): name for name in STANDARD_EVENTS}
_BY_STEMS = (
    {_stems(_words(alias)): name for name, aliases in _ALIASES.items() for alias in aliases}
    | _STANDARD_BY_STEMS
    | {_stems(_words(words)): name for words, name in _MEANT.items()}
)
_BY_STEM = {_stem(folded): name for folded, name in _BY_FOLDED.items()}
_SPELT = tuple((_words(name), _fold(name), name) for name in STANDARD_EVENTS)


@lru_cache(maxsize=1024)
def meant_name(name: str) -> str | None:
    """The standard event that a custom name most likely stands for; None for a name of its own.

    It is one where the words are the same in another form or order (`Order_Complete`, `AddedToCart`), or one is
    misspelt. A word more makes it another event (`PurchaseRefundRequested`), but for those that only say it happened.
    """
    if len(name) > LONGEST:
        return None
    words = _words(name)
    if (found := _BY_STEMS.get(_stems(words))) is not None:
        return found
    left = [word for word in words if word not in _DONE]
    if len(left) < len(words) and (found := _STANDARD_BY_STEMS.get(_stems(left))) is not None:
        return found
    folded = "".join(words)
    if len(words) == 1 and (found := _BY_STEM.get(_stem(folded))) is not None:
        return found
    return next((standard for spelt, whole, standard in _SPELT if _is_misspelt(words, folded, spelt, whole)), None)


def _is_misspelt(words: Sequence[str], folded: str, standard: Sequence[str], whole: str) -> bool:
    if len(words) == 1:
        return _is_typo(folded, whole)
    pairs = list(zip(words, standard, strict=False))
    wrong = [(word, right) for word, right in pairs if _stem(word) != _stem(right)]
    return len(words) == len(standard) and len(wrong) == 1 and (_is_typo(*wrong[0]) or _is_typo(*map(_stem, wrong[0])))


def _is_typo(word: str, right: str) -> bool:
    """Whether a word is another one misspelt: as long but for two letters, and beginning alike. Cheap to say no."""
    if len(right) < _TYPO_FROM or abs(len(word) - len(right)) > 2 or word[:1] != right[0] or word.startswith(right):
        return False
    return SequenceMatcher(None, word, right, autojunk=False).ratio() >= _TYPO_RATIO
