"""What is configured for a destination at Snapchat."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import ClassVar, Self

from pydantic import Field, model_validator

from app.destinations.base import Convert, Duration, MappedSettings, Token
from app.destinations.snapchat.tables import ASSIGNABLE, NAMES


class SnapchatSettings(MappedSettings):
    """One pixel, one app, or both, at Snapchat."""

    assignable: ClassVar[dict[str, Convert]] = ASSIGNABLE

    base_url: str = Field("https://tr.snapchat.com", description="Origin of the Conversions API.")
    api_version: str = Field("v3", pattern=r"^v[0-9]{1,2}$", description="API version.")
    pixel_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Pixel id: takes website and offline events."
    )
    snap_app_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Snap App id: takes app events."
    )
    access_token: Token = Field(description="Conversions API token of the organization that owns them.")
    test: bool = Field(
        False, description="Take events posted with `test: true`, and only validate them. Live events stay live."
    )
    custom_event_names: dict[str, str] = Field(
        {}, description="Which CUSTOM_EVENT_1 to CUSTOM_EVENT_5 stands for an event Snapchat has no name for."
    )
    integration: str | None = Field(
        "convey", pattern=r"^[\x21-\x7e]{1,64}$", description="Name of the sender in Snapchat's logs."
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest web or app event to send.")
    max_age_offline: Duration = Field(timedelta(days=28), gt=timedelta(0), description="The same for offline events.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.pixel_id or self.snap_app_id):
            raise ValueError("needs pixel_id, snap_app_id or both")
        if not all(re.fullmatch("CUSTOM_EVENT_[1-5]", name) for name in self.custom_event_names.values()):
            raise ValueError("custom_event_names must name CUSTOM_EVENT_1 to CUSTOM_EVENT_5")
        if not NAMES.issuperset(self.event_names.values()):
            raise ValueError("event_names must name events of Snapchat's own list")
        return self
