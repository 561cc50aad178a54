"""What TikTok's pages say, as data: names, fields, currencies, codes. Read 2026-11-20 from stored copies.

Pages, under business-api.tiktok.com/portal/docs: id 1771101303285761 (the endpoint), parameters/v1.3, id
1771101186666498 (supported events), rate-limits/v1.3, versioning; the help centre's pages on standard and reserved
events; the table of codes in the official SDK.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Literal

from app.destinations.base import (
    ApiVersion,
    Consequence,
    Convert,
    Limits,
    Ruling,
    as_amount,
    as_flag,
    as_text,
    rulings,
)
from app.model import Form

LIMITS = Limits(
    max_items=1000,  # endpoint page, documented
    max_bytes=1_000_000,  # not documented; chosen
)

VERSIONS = {  # versioning page, second-hand: current since 2022-08-15, its end "to be determined", a year's notice
    "v1.3": ApiVersion(
        date(2026, 11, 20), "https://business-api.tiktok.com/portal/docs/versioning", released=date(2022, 8, 15)
    )
}

EventSource = Literal["web", "app", "offline", "crm"]

EVENT_NAMES = {  # supported events page, documented; the same set for web, offline and crm
    name: name
    for name in (
        "Purchase Lead AddToCart InitiateCheckout AddPaymentInfo AddToWishlist CompleteRegistration ViewContent Search "
        "Subscribe StartTrial Contact Schedule SubmitApplication FindLocation CustomizeProduct"
    ).split()
} | {"Donate": "Donate"}  # a custom event at TikTok
APP_EVENT_NAMES = EVENT_NAMES | {
    "Lead": "GenerateLead",  # supported events page, documented
    "InitiateCheckout": "Checkout",  # seen in peers
    "CompleteRegistration": "Registration",  # seen in peers
}
STANDARD_NAMES = (frozenset(EVENT_NAMES) - {"Donate"}) | {"ApplicationApproval", "Download"}  # documented
OLD_NAMES = frozenset(  # help centre, documented: converted by TikTok for now, the last two end in 2027
    {"CompletePayment", "SubmitForm", "PlaceAnOrder", "ClickButton"}
)
APP_NAMES = frozenset(  # supported events page, documented: further names that only apps have
    (
        "AchieveLevel Checkout CompleteTutorial CreateGroup CreateRole GenerateLead InAppADClick InAppADImpr "
        "InstallApp JoinGroup LaunchAPP LoanApplication LoanApproval LoanDisbursal Login Rate Registration "
        "SpendCredits UnlockAchievement"
    ).split()
)
NO_EVENT = {  # why a standard event has no counterpart
    "PageView": "a page view is the pixel's alone at TikTok; event_names can name one",
    "Refund": "TikTok has no refund; event_names can name a custom event",
}
LOOKALIKES = re.compile(  # reserved events page, documented: TikTok turns such custom names into standard events
    r"(?i)browse|checkout|registration|startcheckout|consult.*|addbilling|view.*page|viewform"
)
CURRENCIES = frozenset(  # endpoint page, documented
    (
        "AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS INR "
        "ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK SGD "
        "THB TRY TWD UAH USD VES VND ZAR"
    ).split()
)
CONTENT_TYPES = frozenset({"product", "product_group"})  # endpoint page, documented
PERSONAL_FIELDS = {  # parameters page, second-hand: one hashed value each, of website events
    "first_name": Form.FIRST_NAME_SPACED,
    "last_name": Form.LAST_NAME_SPACED,
    "zip_code": Form.ZIP,
}
STRONG_FIELDS = frozenset("email phone external_id ttclid ttp idfa gaid idfv".split())
ATT_STATUSES = "AUTHORIZED DENIED NOT_DETERMINED RESTRICTED NOT_APPLICABLE".split()  # endpoint page, documented

ASSIGNABLE: dict[str, Convert] = {  # endpoint page, documented: fields that no field of an event stands for
    "properties.description": as_text,
    "properties.query": as_text,  # the older name of search_string, seen in peers and in localised help
    "properties.shop_id": as_text,
    "ad.ad_id": as_text,
    "ad.attributed": as_flag,
    "ad.attribution_provider": as_text,
    "ad.attribution_share": as_amount,
    "ad.attribution_type": as_text,
    "ad.callback": as_text,
    "ad.campaign_id": as_text,
    "ad.creative_id": as_text,
    "ad.is_retargeting": as_flag,
}

# The official SDK's table names the codes; which class each belongs to is inferred unless noted. The HTTP status does
# not decide: most failures come with 200, and 40100 with 401 (rate limits page, second-hand).
_throttled = Ruling(  # rate limits page, second-hand: a breach of the limit per minute lasts five
    Consequence.THROTTLED, "too many requests", "second-hand", after=timedelta(minutes=5)
)
CODES: dict[int, Ruling] = {
    **rulings(
        Consequence.DELIVERED,
        "inferred",
        {
            20001: "partly successful",  # general API; never seen here; peers take it as done
            40050: "a repeat of a request that was taken",
        },
    ),
    **rulings(Consequence.EVENT_AT_FAULT, "seen in peers", {40002: "a parameter is invalid"}),
    **rulings(
        Consequence.EVENT_AT_FAULT,
        "inferred",
        {
            40000: "a parameter is invalid",
            40061: "the size of the batch is invalid",
            40062: "personal data is not hashed",
            40063: "partner_name is invalid",
        },
    ),
    **rulings(Consequence.PARK, "documented", {40104: "the token is missing or invalid"}),  # it comes with HTTP 401
    **rulings(Consequence.PARK, "seen in peers", {40001: "permission is missing"}),
    **rulings(
        Consequence.PARK,
        "inferred",
        {
            40102: "the token has expired",
            40105: "the token is invalid or revoked",
            40003: "the call is forbidden",
            40113: "the app is blocked",
            40117: "the app is not allowed to call this",
            40118: "the account is not on the allow-list",
            40124: "the app is not on the allow-list",
            40125: "a scope is missing",
            40130: "the call is not allowed",
            40006: "the version is retired",
            40051: "the interface is retired",
            40400: "the path is unknown",
            41001: "the route is missing",
        },
    ),
    40100: _throttled,
    **rulings(Consequence.THROTTLED, "official code", {40132: "the frequency is limited", 61000: "too many requests"}),
    **rulings(
        Consequence.TRANSIENT,
        "inferred",
        {
            40202: "two writes met",
            50000: "a system error",
            50002: "a timeout at TikTok",
            60001: "maintenance",
            **dict.fromkeys(range(51000, 52000), "an internal call failed"),
            **dict.fromkeys(range(52000, 53000), "the storage failed"),
        },
    ),
}
