"""What Snap's pages say, as data: names, fields, currencies, statuses. Read 2026-11-20 from stored copies.

Pages, under developers.snap.com/marketing-api/Conversions-API: GetStarted, UsingTheAPI, Parameters, Deduplication,
VerifySetUp, OfflineEvents, MigrationGuide; the OpenAPI description in the official Java SDK (8ab7075, 2025-05).
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from app.destinations.base import (
    ApiVersion,
    Consequence,
    Convert,
    Limits,
    as_amount,
    as_day,
    as_text,
    as_texts,
    as_whole,
    rulings,
)
from app.model import Form

LIMITS = Limits(
    max_items=2000,  # Get started, second-hand
    max_bytes=2_000_000,  # not published; a peer's figure
)

VERSIONS = {  # Introduction, documented: v3 is current and no end is announced; v2 was to end in early 2025
    "v3": ApiVersion(date(2026, 11, 20), "https://developers.snap.com/marketing-api/Conversions-API/Introduction"),
}

NAMES = frozenset(  # Parameters, second-hand, several copies agree
    (
        "PURCHASE SAVE START_CHECKOUT ADD_CART VIEW_CONTENT ADD_BILLING SIGN_UP SEARCH PAGE_VIEW SUBSCRIBE AD_CLICK "
        "AD_VIEW COMPLETE_TUTORIAL LEVEL_COMPLETE INVITE LOGIN SHARE RESERVE ACHIEVEMENT_UNLOCKED ADD_TO_WISHLIST "
        "SPENT_CREDITS RATE START_TRIAL LIST_VIEW APP_INSTALL APP_OPEN CUSTOM_EVENT_1 CUSTOM_EVENT_2 CUSTOM_EVENT_3 "
        "CUSTOM_EVENT_4 CUSTOM_EVENT_5"
    ).split()
)
EVENT_NAMES = {  # same meaning
    "Purchase": "PURCHASE",
    "AddToCart": "ADD_CART",
    "InitiateCheckout": "START_CHECKOUT",
    "AddPaymentInfo": "ADD_BILLING",
    "AddToWishlist": "ADD_TO_WISHLIST",
    "ViewContent": "VIEW_CONTENT",
    "Search": "SEARCH",
    "PageView": "PAGE_VIEW",
    "Subscribe": "SUBSCRIBE",
    "StartTrial": "START_TRIAL",
    "CompleteRegistration": "SIGN_UP",
    "Lead": "SIGN_UP",  # Snap has no lead event; its own tag template maps leads so
}
# Parameters, documented: keys of hashed values. What limited use can do without stands apart.
STRONG_KEYS = {"em": Form.EMAIL, "ph": Form.PHONE_DIGITS, "external_id": Form.EXTERNAL_ID_LOWER}
PERSONAL_KEYS = {
    "fn": Form.FIRST_NAME_LETTERS,
    "ln": Form.LAST_NAME_LETTERS,
    "ge": Form.GENDER,
    "ct": Form.CITY,
    "st": Form.STATE,
    "zp": Form.ZIP_GB_SECTOR,
    "country": Form.COUNTRY,
}
CURRENCIES = frozenset(  # Parameters, second-hand
    (
        "AED ALL AUD BGN BHD BRL CAD CHF CLP CNY COP CZK DKK DZD EGP EUR GBP GHS GIP HKD HRK HUF IDR ILS INR IQD ISK "
        "JOD JPY KES KRW KWD KZT LBP MAD MXN MYR NGN NOK NZD OMR PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TRY TWD "
        "TZS UAH USD VND XOF ZAR"
    ).split()
)
CONTENT_TYPES = frozenset({"product", "product_group"})  # Parameters, second-hand
ORDER_REPEATS = timedelta(days=30)  # Deduplication, documented: a PURCHASE by its order_id

_TRAVEL: dict[str, Convert] = {  # OpenAPI of the official SDK
    **dict.fromkeys(
        [
            *("checkin_date", "travel_start", "travel_end"),
            *("departing_departure_date", "departing_arrival_date"),
            *("returning_departure_date", "returning_arrival_date"),
        ],
        as_day,
    ),
    **dict.fromkeys(["num_adults", "num_children", "num_infants"], as_whole),
    **dict.fromkeys("destination_airport origin_airport country region city neighborhood postal_code".split(), as_text),
    **dict.fromkeys(
        "suggested_destinations suggested_hotels preferred_neighborhoods preferred_star_ratings".split(), as_texts
    ),
    "hotel_score": as_amount,
}
ASSIGNABLE: dict[str, Convert] = {  # fields that no field of an event stands for
    **{  # Parameters, second-hand; `brands` from the official SDK
        f"custom_data.{key}": convert
        for key, convert in {
            "status": as_text,
            "sign_up_method": as_text,
            "event_tag": as_text,
            "brands": as_text,
            **_TRAVEL,
        }.items()
    },
    "user_data.partner_id": as_text,  # Parameters, second-hand
}

TAKEN = frozenset({"VALID", "SUCCESS"})  # OpenAPI of the official SDK; SUCCESS was v2's word
TOKEN_REFUSED = re.compile(  # a dead token was seen to come as a plain 400 (segment-docs pull request 5173)
    r"(?i)\b(invalid|expired|revoked|missing)\s+(access[ _]?)?token\b"
    r"|\baccess[ _]?token\b.{0,40}\b(invalid|expired|revoked)"
)

# Snap publishes no table of codes: the HTTP status decides. Most of these are seen in peers' error modules.
STATUSES = {
    **rulings(Consequence.THROTTLED, "second-hand", {429: "too many requests"}),
    **rulings(Consequence.TRANSIENT, "seen in peers", {408: "a timeout at Snapchat"}),
    **rulings(
        Consequence.PARK,
        "seen in peers",
        {
            401: "the token is refused",  # a token just made was seen to be refused for up to 45 minutes
            403: "permission is missing",
            404: "the pixel or app is unknown",
            410: "the version is retired",
        },
    ),
    **rulings(
        Consequence.EVENT_AT_FAULT,
        "seen in peers",
        {400: "the request is invalid", 413: "the request is too large", 422: "the request is invalid"},
    ),
}
