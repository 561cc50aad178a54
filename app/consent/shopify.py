"""Reads Shopify's customer privacy: the flags of its pixel API (`customerPrivacy`) and Storefront analytics.

The flags answer "may this be processed", which is true wherever the shop's region asks for no consent. They count as a
choice only in regions in which the shop's consent banner is shown, and that is configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.consent.codes import Code, Malformed

FIELDS = ("analyticsProcessingAllowed", "marketingAllowed", "preferencesProcessingAllowed", "saleOfDataAllowed")


@dataclass(frozen=True, slots=True)
class ShopifyPrivacy:
    """The flags that were sent; None for one that was not."""

    analytics: bool | None
    marketing: bool | None
    preferences: bool | None
    sale_of_data: bool | None


def decode_shopify(value: Any) -> ShopifyPrivacy | Malformed:
    """What the flags say, or that one of them is no boolean, or that none was sent. Other keys are ignored."""
    if not isinstance(value, Mapping):
        return Malformed(Code.SHOPIFY_MALFORMED)
    flags = [value.get(field) for field in FIELDS]
    if all(each is None for each in flags) or not all(each is None or isinstance(each, bool) for each in flags):
        return Malformed(Code.SHOPIFY_MALFORMED)
    return ShopifyPrivacy(*flags)
