"""The event as a backend posts it: pydantic models that judge it field by field.

They hold raw identifiers, live from `app.api` to `app.pipeline`, and are gone when the request is answered. What is
kept and delivered is another kind of value: `app.model`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(max_length=4096)]
Word = Annotated[str, StringConstraints(max_length=256)]
Url = Annotated[str, StringConstraints(max_length=8192)]
Values = Text | Annotated[list[Text | None], Field(max_length=100)] | None
"""An identifier as sent: one string, a list of them, or nothing. Raw, or already SHA-256 in hex."""


def _plain_amount(value: Any) -> Any:
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        raise ValueError("must be a number such as 12.90, with a point and without separators")
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_plain_amount),
    Field(ge=0, max_digits=20, decimal_places=6, allow_inf_nan=False, examples=["129.90"]),
]

DeliveryCategory = Literal["in_store", "curbside", "home_delivery"]

Flag = Annotated[int, Field(ge=0, le=1)]

ActionSource = Literal[
    "website",
    "app",
    "email",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
]
ACTION_SOURCES: tuple[ActionSource, ...] = ActionSource.__args__  # type: ignore[attr-defined]


TestCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class WireModel(BaseModel):
    """One object of the posted JSON. Unknown keys are kept aside so that they can be named in a warning."""

    model_config = ConfigDict(
        extra="allow", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True, protected_namespaces=()
    )


class UserData(WireModel):
    """Who did it. Identifiers are one string or a list, raw or already SHA-256 in hex."""

    email: Values = Field(None, description="E-mail address(es).")
    phone: Values = Field(None, description="Phone number(s), international or national.")
    phone_country: Word | None = Field(None, description="Region of a national phone number, ISO 3166-1 alpha-2.")
    first_name: Values = None
    last_name: Values = None
    gender: Values = None
    date_of_birth: Values = Field(None, description="YYYY-MM-DD.")
    city: Values = None
    state: Values = None
    zip: Values = None
    country: Values = Field(None, description="ISO 3166-1 alpha-2; alpha-3 and common names are understood.")
    external_id: Values = Field(None, description="The shop's own stable id of this customer.")
    lead_id: Word | None = Field(None, description="The ad platform's lead id, for lead events.")
    customer_type: Word | None = Field(None, description="new or returning.")
    client_ip_address: Word | None = Field(None, description="The shopper's IP address, not the server's.")
    client_user_agent: Text | None = Field(None, description="The shopper's user agent.")
    locale: Word | None = None
    fbp: Text | None = None
    fbc: Text | None = None
    ttclid: Text | None = None
    ttp: Text | None = None
    epik: Text | None = None
    sc_click_id: Text | None = None
    sc_cookie1: Text | None = None
    gclid: Text | None = None
    gbraid: Text | None = None
    wbraid: Text | None = None
    ctwa_clid: Text | None = Field(None, description="Click id of an ad that opens WhatsApp.")
    idfa: Word | None = None
    gaid: Word | None = None
    idfv: Word | None = None
    anon_id: Word | None = Field(None, description="Anonymous id of an app install, for Meta and Snapchat.")
    download_id: Word | None = Field(None, description="Download id of an app, for Snapchat.")
    fb_login_id: Word | None = Field(None, description="Id that Facebook Login gave the app, for Meta.")
    page_scoped_user_id: Word | None = Field(None, description="Messenger's id of the person, for Meta.")
    ig_sid: Word | None = Field(None, description="Instagram's scoped id of the person, for Meta.")


class Consent(WireModel):
    """What the shopper allowed, as the shop knows it. Judged in `app.consent`, so the types here are loose."""

    jurisdiction: Word | None = Field(None, description="Where the shopper is: DE, US-CA; EEA for any of its states.")
    collected_at: Any = Field(None, description="When the shopper chose; RFC 3339 with offset, or Unix seconds.")
    purposes: Any = Field(None, description='Your own purposes, each true or false, such as {"ads": true}.')
    ad_storage: Any = Field(None, description="true, false or null.", json_schema_extra={"type": "boolean"})
    ad_user_data: Any = Field(None, description="true, false or null.", json_schema_extra={"type": "boolean"})
    ad_personalization: Any = Field(None, description="true, false or null.", json_schema_extra={"type": "boolean"})
    gcs: Any = Field(None, description="Google's gcs parameter, such as G111.")
    gcd: Any = Field(None, description="Google's gcd parameter, such as 13r3r3r3r5l1.")
    tcf: Any = Field(None, description="TC string of IAB Europe's framework, 2.2 or later.")
    ac: Any = Field(None, description="Google's Additional Consent string; counts beside a TC string only.")
    gpp: Any = Field(None, description="GPP string.")
    us_privacy: Any = Field(None, description="US Privacy string, such as 1YNN.")
    gpc: Any = Field(None, description="Global privacy control, copied from the browser: true, or the 1 of Sec-GPC.")
    onetrust_groups: Any = Field(
        None, description="OneTrust's OptanonConsent cookie, its groups, or its active groups."
    )
    shopify: Any = Field(None, description="Shopify's customerPrivacy: marketingAllowed, saleOfDataAllowed, …")
    child: Any = Field(None, description="true for a known child without a parent's consent.")


class Content(WireModel):
    """One line of the basket."""

    id: Word | None = None
    quantity: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    item_price: Amount | None = Field(None, description="Price of one unit.")
    title: Text | None = None
    brand: Text | None = None
    category: Text | None = None
    delivery_category: DeliveryCategory | None = None


class CustomData(WireModel):
    """What it was worth and what it was about."""

    currency: Word | None = Field(None, description="ISO 4217, e.g. EUR.")
    value: Amount | None = Field(None, description="Total in major units, string or number.")
    order_id: Word | None = None
    num_items: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    search_string: Text | None = None
    subscription_id: Word | None = None
    predicted_ltv: Amount | None = None
    content_name: Text | None = None
    content_category: Text | None = None
    content_type: Word | None = Field(None, description="product, or product_group for ids of item groups.")
    delivery_category: DeliveryCategory | None = Field(None, description="in_store, curbside or home_delivery.")
    contents: Annotated[list[Content], Field(max_length=500)] | None = None
    properties: Annotated[dict[str, Any], Field(max_length=200)] | None = Field(
        None,
        description="Free data; flat values reach Meta and Snapchat, others where `field_properties` of a destination "
        "sends them.",
    )


class AppData(WireModel):
    """Facts about the app an event of action_source `app` happened in."""

    os: Word | None = Field(None, description="ios or android.")
    os_version: Word | None = None
    app_id: Word | None = Field(None, description="The store's id of the app.")
    app_name: Word | None = None
    app_version: Word | None = None
    advertiser_tracking_enabled: Flag | None = Field(None, description="The answer to the tracking prompt, 0 or 1.")
    application_tracking_enabled: Flag | None = Field(None, description="The app's own setting, 0 or 1.")
    att_status: Word | None = Field(None, description="iOS tracking authorisation, e.g. AUTHORIZED or DENIED.")
    extinfo: Annotated[list[Word | None], Field(max_length=16)] | None = Field(
        None, description="The 16 device slots, in order; the first is a2 (Android) or i2 (iOS)."
    )
    vendor_id: Word | None = None
    campaign_ids: Text | None = None
    install_referrer: Text | None = None
    installer_package: Word | None = None
    url_schemes: Text | None = None
    windows_attribution_id: Word | None = None
    package_name: Word | None = Field(None, description="The app's package or bundle name.")
    app_store: Annotated[str, StringConstraints(max_length=100)] | None = Field(None, description="Where it came from.")
    install_time: Annotated[int, Field(ge=0, lt=4_102_444_800)] | None = Field(None, description="Unix seconds.")
    device_brand: Word | None = None
    device_model: Word | None = None
    device_type: Word | None = None
    device_carrier: Word | None = None
    wifi: bool | None = None


class ContextUser(BaseModel):
    """What only the browser's own requests show of a shopper. Nothing here names a person; nothing else is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_ip_address: Word | None = Field(None, description="The shopper's IP address, not the server's.")
    client_user_agent: Text | None = Field(None, description="The shopper's user agent.")
    locale: Word | None = None
    fbp: Text | None = None
    fbc: Text | None = None
    ttclid: Text | None = None
    ttp: Text | None = None
    epik: Text | None = None
    sc_click_id: Text | None = None
    sc_cookie1: Text | None = None
    gclid: Text | None = None
    gbraid: Text | None = None
    wbraid: Text | None = None


class CheckoutContext(BaseModel):
    """What the checkout page's server knows of an order, kept until the backend posts it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    user: ContextUser = Field(default_factory=ContextUser)
    event_source_url: Url | None = None
    referrer_url: Url | None = None
    consent: Consent = Field(default_factory=Consent)


class Event(WireModel):
    """Something that happened in the shop, as the backend posts it."""

    event_name: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="A standard name (Purchase, Lead, …), a well-known alias, or a name of your own.",
        examples=["Purchase"],
    )
    event_time: Any = Field(
        description="RFC 3339 with offset, or Unix seconds.",
        json_schema_extra={"type": ["string", "number"], "examples": ["2026-11-20T10:15:00Z"]},
    )
    event_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="The id the browser pixel carries for this event, if it already has one."
    )
    transaction_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    occurrence: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="Invoice, renewal or refund id: makes a repeat of the same order an event of its own."
    )
    action_source: ActionSource = "website"
    event_source_url: Url | None = None
    referrer_url: Url | None = None
    user: UserData = Field(default_factory=UserData)
    app: AppData | None = Field(None, description="App data, for action_source app.")
    consent: Consent = Field(default_factory=Consent)
    custom_data: CustomData = Field(default_factory=CustomData)
    destinations: Annotated[list[Word], Field(max_length=50)] | None = Field(
        None, description="Only these of the source's destinations; all of them when absent."
    )
    hold: bool = Field(
        False, description="Keep it back (an order not yet paid) until it is released or cancelled, within its time."
    )
    test: bool = False
    test_event_codes: Annotated[dict[Word, TestCode], Field(max_length=50)] | None = Field(
        None, description="Test codes by destination, instead of the configured ones. Makes it a test event."
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data
