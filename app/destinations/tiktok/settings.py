"""What is configured for a destination at TikTok."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.destinations.base import Convert, Duration, MappedSettings, Token
from app.destinations.tiktok.tables import ASSIGNABLE


class TikTokSettings(MappedSettings):
    """One TikTok token and the event sources it may report to."""

    assignable: ClassVar[dict[str, Convert]] = ASSIGNABLE

    base_url: str = Field("https://business-api.tiktok.com", description="Origin of the Business API.")
    api_version: str = Field("v1.3", pattern=r"^v[0-9]{1,2}\.[0-9]{1,2}$", description="Business API version.")
    access_token: Token = Field(description="Token made for these event sources.")
    pixel_code: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Pixel code (not the ad account id): takes website events."
    )
    offline_event_set_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Offline event set: takes store, phone and other events."
    )
    crm_event_set_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="CRM event set: takes events with a TikTok lead id."
    )
    app_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="TikTok app id: takes app events. TikTok must allow it."
    )
    test_event_code: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Code of Test Events; events posted with `test: true` carry it and are kept out of the reports.",
    )
    partner_name: str | None = Field(
        None, pattern=r"^[\x21-\x7e]{1,64}$", description="Only when TikTok gave you one: a wrong name is refused."
    )
    lead_event_source: str | None = Field(None, max_length=100, description="Name of the CRM, sent with crm events.")
    address_fields: Literal["none", "hashed", "all"] = Field(
        "hashed",
        description="Names and postcode of website events, hashed; `all` adds state and country, which TikTok wants "
        "in clear. They stand on one of TikTok's pages and are missing from another.",
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest web, app or crm event to send.")
    max_age_offline: Duration = Field(timedelta(days=28), gt=timedelta(0), description="The same for offline events.")

    @model_validator(mode="after")
    def _has_event_source(self) -> Self:
        if not (self.pixel_code or self.offline_event_set_id or self.crm_event_set_id or self.app_id):
            raise ValueError("needs one of pixel_code, offline_event_set_id, crm_event_set_id and app_id")
        return self
