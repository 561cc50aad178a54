"""What is configured for a destination at Meta."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field

from app.destinations.base import Convert, Duration, QualitySettings, Token
from app.destinations.meta.tables import ASSIGNABLE, MessagingChannel


class MetaSettings(QualitySettings):
    """One pixel or dataset at Meta."""

    assignable: ClassVar[dict[str, Convert]] = ASSIGNABLE

    base_url: str = Field("https://graph.facebook.com", description="Origin of the Graph API.")
    pixel_id: str = Field(pattern=r"^[0-9]{1,20}$", description="Pixel or dataset id.")
    access_token: Token = Field(description="Token of the dataset or of a system user.")
    api_version: str = Field("v26.0", pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$", description="Graph API version.")
    test_event_code: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Code of Test Events; events posted with `test: true` carry it. Meta counts them all the same.",
    )
    partner_agent: str | None = Field(
        None,
        max_length=22,
        pattern=r"^[!-~]*[A-Za-z][!-~]*[A-Za-z][!-~]*$",
        description="Platform name shown by Meta: below 23 characters, two of them letters.",
    )
    app_secret: Token | None = Field(
        None, description="Secret of the app that made the token, where that app demands a proof with each call."
    )
    token_in_query: bool = Field(
        False, description="Send the token as a query parameter, the documented place, instead of in a header."
    )
    upload_tag: str | None = Field(
        None, pattern=r"^[\x20-\x7e]{1,64}$", description="Label of the uploads, shown with offline events."
    )
    messaging_channel: MessagingChannel | None = Field(
        None, description="Channel of business_messaging events that name none in `properties.messaging_channel`."
    )
    page_id: str | None = Field(None, pattern=r"^[0-9]{1,20}$", description="Facebook page that Messenger events name.")
    whatsapp_business_account_id: str | None = Field(
        None, pattern=r"^[0-9]{1,20}$", description="WhatsApp business account that WhatsApp events name."
    )
    ig_account_id: str | None = Field(
        None, pattern=r"^[0-9]{1,20}$", description="Instagram account that Instagram events name."
    )
    lead_event_source: str | None = Field(
        None,
        max_length=100,
        description="Name of the CRM: makes system_generated events conversion leads (`event_source: crm`).",
    )
    customer_segmentation: Literal["off", "event", "custom_data"] = Field(
        "off",
        description="Where new and returning customers are told: Meta's table puts it in the event, its sample in "
        "custom_data.",
    )
    require_user_agent: bool = Field(
        False,
        description="Skip website events without user agent: Meta asks for it, yet was seen to take them without.",
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest event Meta takes.")
    max_age_physical_store: Duration = Field(
        timedelta(days=62), gt=timedelta(0), description="The same for action_source physical_store."
    )
