"""What Pinterest's description and pages say, as data: names, fields, codes. Read 2026-11-20 from stored copies.

Sources: pinterest/api-description, v5/openapi.json 5.23.0 ("OpenAPI description"); developers.pinterest.com, the
conversions guide, rate limits and limited data processing.
"""

from __future__ import annotations

from datetime import date, timedelta

from app.destinations.base import (
    ApiVersion,
    Consequence,
    Convert,
    Limits,
    Ruling,
    as_text,
    as_whole,
    at_most,
    one_of,
    rulings,
)
from app.model import Form

LIMITS = Limits(
    max_items=1000,  # OpenAPI description, documented
    max_bytes=1_000_000,  # not documented; chosen
)
TEST_LIMITS = Limits(
    max_items=20,  # rate limits page, second-hand: of a test request only the first 20 events are processed
    max_bytes=1_000_000,
)

VERSIONS = {  # OpenAPI description, documented: v5, whose minor numbers change without a new path; no end is announced
    "v5": ApiVersion(date(2026, 11, 20), "https://github.com/pinterest/api-description"),
}

EVENT_NAMES = {  # OpenAPI description 5.23.0, documented, unless noted
    "Purchase": "checkout",
    "Lead": "lead",
    "AddToCart": "add_to_cart",
    "InitiateCheckout": "initiate_checkout",
    "AddPaymentInfo": "add_payment_info",
    "AddToWishlist": "add_to_wishlist",
    "CompleteRegistration": "signup",
    "ViewContent": "view_content",
    "PageView": "page_visit",
    "Search": "search",
    "Subscribe": "subscribe",
    "StartTrial": "start_trial",  # conversions guide, second-hand, as are the next five
    "Contact": "contact",
    "Schedule": "schedule",
    "SubmitApplication": "submit_application",
    "FindLocation": "find_location",
    "CustomizeProduct": "customize_product",
    "Donate": "custom",
}
CUSTOM_NAME = "custom"  # OpenAPI description, documented
OTHER_NAMES = frozenset({"view_category", "watch_video", "app_install", "app_open"})  # the same two sources
KNOWN_NAMES = frozenset(EVENT_NAMES.values()) | OTHER_NAMES

# OpenAPI description, documented: keys of hashed values. Limited data processing needs state and country; what it can
# do without stands apart.
KEPT_KEYS = {
    "em": Form.EMAIL,
    "ph": Form.PHONE_DIGITS,
    "st": Form.STATE_TWO_LETTER,
    "country": Form.COUNTRY,
    "external_id": Form.EXTERNAL_ID,
    "hashed_maids": Form.AD_ID,
}
PERSONAL_KEYS = {
    "fn": Form.FIRST_NAME_PUNCTUATED,
    "ln": Form.LAST_NAME_PUNCTUATED,
    "ge": Form.GENDER_WITH_NEUTRAL,
    "db": Form.BIRTH_DATE,
    "ct": Form.CITY,
    "zp": Form.ZIP_DIGITS,
}

ASSIGNABLE: dict[str, Convert] = {  # OpenAPI description, documented: fields that no field of an event stands for
    "custom_data.content_brand": as_text,
    "custom_data.external_measurement_id": as_text,  # only when Pinterest says so, as the next one
    "custom_data.external_measurement_vendor_id": as_whole,
    "user_data.partner_id": as_text,
    "app_info.user_agent": at_most(16384),
    "app_info.window_height": as_whole,
    "app_info.window_width": as_whole,
    "device_info.form_factor": one_of(
        *"desktop laptop cellphone tablet smartwatch tv vr console other".split(),
    ),
    "device_info.network_type": one_of(
        "wifi", *(f"cellular_{generation}g" for generation in range(2, 7)), "ethernet", "unknown"
    ),
    "device_info.os_family": one_of("ios", "android", "macos", "windows", "linux", "bsd", "other"),
}

# Codes of the OpenAPI description's samples, documented; their classes are inferred.
_ramped_down = Ruling(  # the endpoint is switched off for now: how long is inferred
    Consequence.TRANSIENT, "the endpoint is ramped down", after=timedelta(minutes=15)
)
CODES: dict[int, Ruling] = {
    **rulings(Consequence.THROTTLED, "documented", {8: "too many requests"}),
    4197: _ramped_down,
    **rulings(
        Consequence.PARK,
        "documented",
        {2: "authentication failed, or the ad account is unknown", 29: "no permission for the ad account"},
    ),
    **rulings(Consequence.PARK, "seen in peers", {3: "the token lacks the scope"}),
    **rulings(Consequence.EVENT_AT_FAULT, "documented", {4196: "the request breaks the schema"}),
}
STATUSES: dict[int, Ruling] = {  # where the code says nothing
    **rulings(Consequence.THROTTLED, "documented", {429: "too many requests"}),
    **rulings(Consequence.TRANSIENT, "inferred", {408: "a timeout at Pinterest"}),
    **rulings(
        Consequence.PARK,
        "documented",
        {401: "authentication failed", 403: "no permission", 404: "the ad account or path is unknown"},
    ),
    **rulings(Consequence.EVENT_AT_FAULT, "documented", {400: "the request breaks the schema"}),
    **rulings(Consequence.EVENT_AT_FAULT, "inferred", {413: "the request is too large"}),
}
VERDICTS_APART = 422  # OpenAPI description, documented: not all events were processed; code 953 was seen
