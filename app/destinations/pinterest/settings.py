"""What is configured for a destination at Pinterest."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field

from app.destinations.base import Convert, Duration, QualitySettings, Token
from app.destinations.pinterest.tables import ASSIGNABLE


class PinterestSettings(QualitySettings):
    """One ad account at Pinterest."""

    assignable: ClassVar[dict[str, Convert]] = ASSIGNABLE

    base_url: str = Field("https://api.pinterest.com", description="Origin of the API.")
    api_version: str = Field("v5", pattern=r"^v[0-9]{1,2}$", description="API version.")
    ad_account_id: str = Field(pattern=r"^[0-9]{1,18}$", description="Ad account id.")
    access_token: Token = Field(description="Conversion access token, or OAuth token with ads:write.")
    test: bool = Field(
        False, description="Take events posted with `test: true`, in test requests. Live events stay live."
    )
    partner_name: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,64}$", description="Only when Pinterest gave you one, such as ss-company."
    )
    send_customer_type: bool = Field(
        False, description="Send new/returning; known to newer versions of the schema only, others refuse the request."
    )
    send_tracking_flag: bool = Field(
        False,
        description="Send the answer to iOS's tracking prompt; peers do, the schema that was read does not have it.",
    )
    late: Literal["send", "expire"] = Field(
        "send",
        description="What becomes of website and app events older than `late_after`, which Pinterest is said to count "
        "as offline, unpaired: sent with a warning, or expired where a pixel sends a copy as well.",
    )
    late_after: Duration = Field(
        timedelta(hours=1), gt=timedelta(0), le=timedelta(hours=48), description="From when on an event is late."
    )
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest event to send.")
