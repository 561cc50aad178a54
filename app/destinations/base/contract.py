"""What a destination is: a record of pure functions and data, and the settings every one of them has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from app.destinations.base.aftermath import Adjustment, Later
from app.destinations.base.quality import Quality
from app.errors import Reason
from app.model import Delivery, Form, HashedEvent, HttpCall, HttpReply, Park, Result, Split, Warn
from app.units import Duration

DEDUP_WINDOW = timedelta(hours=48)
"""How long Meta, TikTok, Pinterest and Snapchat all pair two copies of one event (documented by each)."""


def _token(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value().strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("must be a token: printable ASCII without blanks, not empty")
    return SecretStr(token)


Token = Annotated[SecretStr, AfterValidator(_token)]
"""A secret fit for a header: blanks and line ends around it are dropped, an empty one is a mistake."""


class DestinationSettings(BaseModel):
    """What every adapter's settings have; adapters add ids, secrets (`SecretStr`) and choices of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=())

    base_url: str = Field(description="Origin of the platform's API; the adapter appends the documented path.")
    window_margin: Duration = Field(
        timedelta(minutes=10),
        ge=timedelta(0),
        le=timedelta(days=1),
        description="Safety margin taken off the platform's event-age window.",
    )

    @field_validator("base_url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        match = re.fullmatch(r"(https?)://([^/?#@\s]+)/?", url)
        if match is None:
            raise ValueError("must be an origin such as https://host, without a path")
        host = match[2].rsplit(":", 1)[0]
        if match[1] == "http" and host not in {"127.0.0.1", "localhost", "[::1]"}:
            raise ValueError("plain http is allowed to loopback only")
        return url.rstrip("/")


Convert = Callable[[Any], Any]
"""What turns a custom property into a platform's value; None where it does not fit."""


class MappedSettings(DestinationSettings):
    """Settings of a destination whose names for events, and whose further fields, can be chosen.

    `assignable` is the adapter's table of documented fields that no field of an event stands for: the path in the
    platform's event, such as `custom_data.net_revenue`, and what brings a value into its type.
    """

    assignable: ClassVar[Mapping[str, Convert]] = {}

    event_names: dict[str, str] = Field(
        {}, description="The platform's name to send for a standard or custom event, such as what an older pixel fires."
    )
    skip_events: tuple[str, ...] = Field((), description="Standard or custom events this destination never gets.")
    field_properties: dict[str, str] = Field(
        {},
        description="Which custom property fills a field of the platform's; the destination's page lists the fields "
        "that can be filled so.",
    )

    @field_validator("field_properties")
    @classmethod
    def _fields_exist(cls, chosen: dict[str, str]) -> dict[str, str]:
        for path in chosen:
            if path not in cls.assignable:
                close = difflib.get_close_matches(path, cls.assignable, 1, 0.7)
                all_of_them = ", ".join(sorted(cls.assignable)) or "none"
                meant = f"did you mean {close[0]}?" if close else f"it can fill {all_of_them}"
                raise ValueError(f"has no field {path} of the platform's: {meant}")
        return chosen


class QualitySettings(MappedSettings):
    """Settings of a destination whose platform can be asked for the quality of what it got."""

    quality_every: Duration | None = Field(
        None,
        ge=timedelta(hours=1),
        le=timedelta(days=7),
        description="How often the platform is asked what it thinks of the events it got; never when absent.",
    )
    quality_token: Token | None = Field(
        None, description="Token to ask that with, where `access_token` may not; the destination's page says what."
    )


S = TypeVar("S", bound=DestinationSettings)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` requests in any span of `per`."""

    amount: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold, how many may be under way at once, and how many may be sent: every rate holds.

    A rate is a promise for all workers of one store together; none means that the platform's own answers set the pace.
    """

    max_items: int
    max_bytes: int
    max_in_flight: int = 4
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """The destination does not take this event. `detail` says in words what is missing, never a value."""

    reason: Reason
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Admit:
    """The destination takes this event.

    `window_until`: the platform takes events of this age until then. `pair_for`: how long after event_time the
    platform pairs the pixel's copy with this one (zero when it never does). `repeat_for`: how long after a first
    receipt it recognises a repeat of this very copy. `warnings`: what was left out or looks weak.
    """

    window_until: datetime
    pair_for: timedelta = DEDUP_WINDOW
    repeat_for: timedelta = DEDUP_WINDOW
    warnings: tuple[Warn, ...] = ()


Admission = Skip | Admit


def _always(event: HashedEvent, settings: Any) -> bool:
    return True


def _canonical(event: HashedEvent, settings: Any) -> str | None:
    return event.event_name


def _no_pixel(event: HashedEvent, event_id: str, settings: Any) -> str | None:
    return None


def _own_budget(settings: Any) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """One version of a platform's API, as its pages had it.

    `sunset` is the day it ends, None where none is announced or can be told; `is_announced` is false where that day
    is our own careful reading. `read_on` is when the pages were read, `source` which they were.
    """

    read_on: date
    source: str
    released: date | None = None
    sunset: date | None = None
    is_announced: bool = True


@dataclass(frozen=True, slots=True)
class Destination(Generic[S]):
    """One kind of platform. Its module keeps it as `DESTINATION`; the registry finds it there.

    `name` is the module's name, the docs page's and the config's `type`. `needs` are the named forms of the
    identity to compute at the door. `is_limited_supported` says that a documented limited mode exists, `can_limit`
    whether this event can be sent in it (some platforms must know the shopper's state, or locate the IP address).
    `has_consent_states` says that its requests carry the consent itself (`HashedEvent.consent`), so that an event can
    be sent whose use for personalisation was refused.
    `pixel_call` is the JavaScript with which a page's pixel reports this event under the same name and id; None where
    the platform has no such event. `pixel_name` is what the platform calls the event: its pixel must call it the same.
    `takes_test_codes` says that an event may bring a test code of its own. `versions` are the API versions that were
    read about, by the value of the setting `api_version`. `linger` is how long a batch waits for more events unless
    configured. `later` and `adjustment` are what may come after acceptance (`app.destinations.base.aftermath`);
    `quality` is how the platform is asked what it thinks of the events it got (`app.destinations.base.quality`).
    `budget` names what the rates of `limits` belong to (a project, an account), so that destinations with one name
    share them; None where each destination has its own.
    """

    name: str
    settings: type[S]
    limits: Limits
    needs: frozenset[Form]
    is_limited_supported: bool
    has_test_mode: Callable[[S], bool]
    admit: Callable[[HashedEvent, S, datetime], Admission]
    build: Callable[[Sequence[Delivery], S], Sequence[HttpCall]]
    read: Callable[[HttpReply, Sequence[Delivery]], Sequence[Result] | Split | Park]
    can_limit: Callable[[HashedEvent, S], bool] = _always
    has_consent_states: bool = False
    linger: timedelta = timedelta(milliseconds=200)
    pixel_call: Callable[[HashedEvent, str, S], str | None] = _no_pixel
    pixel_name: Callable[[HashedEvent, S], str | None] = _canonical
    takes_test_codes: bool = False
    versions: Mapping[str, ApiVersion] = field(default_factory=dict)
    budget: Callable[[S], str | None] = _own_budget
    later: Later[S] | None = None
    adjustment: Adjustment[S] | None = None
    quality: Quality[S] | None = None

    def version_of(self, settings: S) -> ApiVersion | None:
        """What is known of the API version these settings name; None when nothing is."""
        return self.versions.get(getattr(settings, "api_version", ""))
