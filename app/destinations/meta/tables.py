"""What Meta's pages say, as data: names, keys, windows, codes. Read 2026-11-20 from stored copies.

Pages, under developers.facebook.com/docs: marketing-api/conversions-api (using the API, server event, customer
information and custom data parameters, offline events, app events, business messaging, conversion leads),
marketing-apis/data-processing-options, graph-api/guides/error-handling, graph-api/overview/rate-limiting.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from app.destinations.base import (
    ApiVersion,
    Consequence,
    Convert,
    Limits,
    Ruling,
    as_amount,
    as_day,
    as_flag,
    as_text,
    as_whole,
    one_of,
    rulings,
)
from app.model import Form

READ_ON = date(2026, 11, 20)

LIMITS = Limits(
    max_items=1000,  # Using the API, documented
    max_bytes=1_000_000,  # not documented; about 1 MB noted by a peer
)

# Graph API versioning, documented: a version lives until two years after the next one shipped, and the Conversions
# API is said to follow that. Marketing API versions live about a year (v24.0: 2025-10-08 to 2026-10-06, documented),
# and the two statements sit uneasily together. So the newest version, whose end nobody can name yet, is watched by the
# shorter life.
_VERSIONING = "https://developers.facebook.com/docs/graph-api/guides/versioning"
VERSIONS = {
    "v24.0": ApiVersion(READ_ON, _VERSIONING, released=date(2025, 10, 8), sunset=date(2028, 2, 18), is_announced=False),
    "v25.0": ApiVersion(READ_ON, _VERSIONING, released=date(2026, 2, 18), sunset=date(2028, 7, 29), is_announced=False),
    "v26.0": ApiVersion(READ_ON, _VERSIONING, released=date(2026, 7, 29), sunset=date(2027, 7, 29), is_announced=False),
}

# Meta Pixel reference, documented: the standard names are Meta's own. Refund is a custom name there; nothing is
# subtracted from the Purchase.
EVENT_NAMES = {
    name: name
    for name in (
        "Purchase Lead AddToCart InitiateCheckout AddPaymentInfo AddToWishlist CompleteRegistration ViewContent "
        "Search PageView Subscribe StartTrial Contact Schedule SubmitApplication FindLocation CustomizeProduct "
        "Donate Refund"
    ).split()
}
MESSAGING_NAMES = {  # Business messaging, documented; any other name is refused (2804066)
    "Purchase": "Purchase",
    "Lead": "LeadSubmitted",
    "InitiateCheckout": "InitiateCheckout",
    "AddToCart": "AddToCart",
    "ViewContent": "ViewContent",
}
MESSAGING_OWN_NAMES = (  # the same page's further names, for callers who post them as they are
    "LeadSubmitted OrderCreated OrderShipped OrderDelivered OrderCanceled OrderReturned CartAbandoned QualifiedLead "
    "RatingProvided ReviewProvided"
).split()
MessagingChannel = Literal["whatsapp", "messenger", "instagram"]  # Business messaging, documented
MESSAGING_NEEDS: dict[str, tuple[str, ...]] = {  # Business messaging, documented: who wrote, and to whom
    "whatsapp": ("ctwa_clid",),
    "messenger": ("page_id", "page_scoped_user_id"),
    "instagram": ("ig_account_id", "ig_sid"),
}

# Customer information parameters, documented: keys of hashed values. What limited use can do without stands apart.
STRONG_KEYS = {"em": Form.EMAIL, "ph": Form.PHONE_DIGITS, "external_id": Form.EXTERNAL_ID_LOWER}
PERSONAL_KEYS = {
    "fn": Form.FIRST_NAME_LETTERS,
    "ln": Form.LAST_NAME_LETTERS,
    "db": Form.BIRTH_DATE,
    "ge": Form.GENDER,
    "ct": Form.CITY,
    "st": Form.STATE,
    "zp": Form.ZIP,
    "country": Form.COUNTRY,
}
TOO_WEAK = (  # Customer information parameters, documented: an event with no more than one of these is invalid
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
LDU_STATES = {  # Data processing options, documented: 1000 is California, in this order
    state: 1000 + index for index, state in enumerate("ca co ct fl or tx mt de ne nh nj mn md ri".split())
}
OFFLINE_REPEATS = timedelta(days=7)  # Offline events, documented: by order_id among offline events, up to 7 days

CONTENT_TYPES = frozenset({"product", "product_group"})  # Custom data parameters, documented, for shops
CUSTOM_KEYS = frozenset(  # Custom data parameters, documented: what fields of an event stand for
    (
        "value currency order_id num_items search_string predicted_ltv content_name content_category content_type "
        "content_ids contents delivery_category"
    ).split()
)
# Documented keys that no field of an event stands for (custom data, conversion leads, offline events, travel): a
# property of that name is brought into its type. Any other free key is Meta's custom property.
TYPED_KEYS: dict[str, Convert] = {
    "status": as_text,
    "net_revenue": as_amount,
    "item_number": as_text,
    "lead_event_source": as_text,
    "event_source": one_of("crm"),
    **dict.fromkeys(["checkin_date", "checkout_date", "departing_departure_date", "returning_departure_date"], as_day),
    **dict.fromkeys(["num_adults", "num_children", "num_infants"], as_whole),
    **dict.fromkeys(["origin_airport", "destination_airport", "city", "region", "country"], as_text),
}
SEGMENTS = one_of(  # Server event parameters, documented
    *(
        f"{who}_{what}"
        for who in ("new_customer_to", "existing_customer_to")
        for what in ("business", "business_line", "product_area", "medium")
    ),
    "customer_in_loyalty_program",
)
ASSIGNABLE: dict[str, Convert] = {
    **{f"custom_data.{key}": convert for key, convert in TYPED_KEYS.items()},
    "custom_data.content_type": as_text,  # travel and other verticals have words of their own
    "custom_data.customer_segmentation": SEGMENTS,
    "customer_segmentation": SEGMENTS,
    "opt_out": as_flag,  # Server event parameters, documented: for attribution only
    "original_event_data.event_name": as_text,  # Server event parameters, documented; official SDK
    "original_event_data.event_time": as_whole,
    "original_event_data.order_id": as_text,
    "original_event_data.event_id": as_text,
}

_blocked = Ruling(  # Error handling, documented; it comes without a time, so the wait is inferred
    Consequence.TRANSIENT, "blocked for now under a policy", after=timedelta(hours=1)
)
_unknown = Ruling(Consequence.TRANSIENT, "unknown error", "seen in peers", max_attempts=5)

CODES: dict[int, Ruling] = {
    **rulings(
        Consequence.TRANSIENT, "documented", {1: "an unknown error at Meta", 2: "the service is down for a moment"}
    ),
    368: _blocked,
    5000: _unknown,
    **rulings(
        Consequence.THROTTLED,
        "documented",
        {
            4: "too many calls of the app",
            17: "too many calls of the user",
            32: "too many calls of the page",
            341: "a limit of the app is reached",
            613: "too many calls for this purpose",
            **dict.fromkeys(range(80000, 80015), "too many calls of the business use case"),
        },
    ),
    **rulings(
        Consequence.PARK,
        "documented",
        {
            102: "the session is over",
            104: "the token or its proof is missing or wrong",
            190: "the token is dead",
            3: "the app may not make this call",
            10: "permission is missing",
            **dict.fromkeys(range(200, 300), "permission is missing"),
            803: "the pixel or dataset is unknown",
        },
    ),
    **rulings(
        Consequence.PARK,
        "seen in peers",
        {2635: "the API version is retired", 2655: "terms of service are not accepted"},
    ),
    **rulings(Consequence.EVENT_AT_FAULT, "documented", {100: "a parameter is invalid"}),
    **rulings(Consequence.EVENT_AT_FAULT, "seen in peers", {105: "too many parameters"}),
}

# Subcodes of 100. Most are known from threads, not from Meta; an unlisted one is a fault of the event all the same.
SUBCODES: dict[int, Ruling] = {
    **rulings(Consequence.PARK, "seen in peers", {33: "the pixel or dataset is unknown, or not permitted"}),
    **rulings(
        Consequence.EVENT_AT_FAULT,
        "seen in peers",
        {
            2804001: "fbc is malformed",
            2804003: "event_time is too old",
            2804004: "event_time lies in the future",
            2804008: "value or currency is missing or bad",
            2804009: "value is missing or bad",
            2804010: "custom_data is empty",
            2804016: "custom_data is invalid",
            2804019: "a required parameter is missing",
            2804023: "value or currency is missing or bad",
            2804036: "lead_id is no lead of Meta",
            2804043: "app_data.extinfo is invalid",
            2804050: "too little is known of the customer",
        },
    ),
    **rulings(
        Consequence.EVENT_AT_FAULT,
        "documented",
        {
            2804066: "no messaging event of this name",
            2804069: "page_id is missing or wrong",
            2804079: "ig_account_id is missing or wrong",
            2804087: "ctwa_clid is missing or wrong",
            2804116: "the WhatsApp business account is missing or wrong",
        },
    ),
}
