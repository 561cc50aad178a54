"""The settings, field by field: type, bound, default, and one line of meaning. The docs page is made from these.

Adapters bring their own models; `spelled` has them read as these are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
)

from app.config.base import NAME_PATTERN, Normal, Section
from app.config.consent import DestinationConsentConfig
from app.units import Duration, Size

LEASE_MARGIN = timedelta(seconds=5)
"""How much longer than one HTTP attempt a lease must last, so that nobody claims what is still under way."""


class ServerConfig(Section):
    """The HTTP server and its limits."""

    host: str = Field("127.0.0.1", description="Address the API listens on; 0.0.0.0 in a container.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 takes a free one.")
    metrics_host: str = Field("127.0.0.1", description="Address `/metrics` listens on.")
    metrics_port: int = Field(9090, ge=0, le=65535, description="Port of `/metrics`; 0 takes a free one.")
    docs: bool = Field(True, description="Whether `/docs` and the OpenAPI description are served.")
    max_body_bytes: Size = Field(8 << 20, ge=1 << 10, le=256 << 20, description="Largest request body; beyond it 413.")
    max_events: int = Field(1000, ge=1, le=10_000, description="Most events in one request; beyond it 413.")
    limit_concurrency: int = Field(
        1000, ge=1, le=100_000, description="Most connections served at once; beyond it 503."
    )
    keep_alive: Duration = Field(
        timedelta(seconds=75),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="How long an idle connection is kept; longer than the load balancer's idle time.",
    )
    graceful_shutdown: Duration = Field(
        timedelta(seconds=20),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=10),
        description="How long requests under way may take to finish at shutdown.",
    )
    drain: Duration = Field(
        timedelta(seconds=15),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="How long deliveries under way may then take; what is still unsent is put back.",
    )


class LoggingConfig(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")


class RetryConfig(Section):
    """How failed deliveries are tried again: exponential, with full jitter."""

    first: Duration = Field(
        timedelta(seconds=2),
        ge=timedelta(milliseconds=100),
        le=timedelta(seconds=5),
        description="Longest wait before the first retry.",
    )
    cap: Duration = Field(
        timedelta(minutes=5),
        ge=timedelta(seconds=1),
        le=timedelta(hours=6),
        description="Longest wait before any retry.",
    )
    max_attempts: int = Field(1000, ge=1, le=100_000, description="Most tries; time is the budget that usually ends.")


class RateConfig(Section):
    """One rate limit: at most so many requests in any span of so long."""

    requests: int = Field(ge=1, le=100_000_000, description="Most requests.")
    per: Duration = Field(ge=timedelta(seconds=1), le=timedelta(days=31), description="In any span of this length.")


class DestinationHead(Section):
    """What every destination has, whatever its type."""

    name: str = Field(pattern=NAME_PATTERN, description="Unique name; the metric label, and what sources refer to.")
    type: str = Field(description="Which platform it is.")
    enabled: bool = Field(
        True, description="false: nothing is sent to it, and neither its own settings nor its secrets are read."
    )
    linger: Duration = Field(
        timedelta(milliseconds=200),
        ge=timedelta(0),
        le=timedelta(minutes=1),
        description="How long a batch waits for more events; 2s for Google unless set.",
    )
    max_batch: int | None = Field(None, ge=1, description="Most events in one request; the platform's limit if absent.")
    timeout: Duration = Field(
        timedelta(seconds=10),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=5),
        description="How long one request may take.",
    )
    lease: Duration = Field(
        timedelta(seconds=20),
        validate_default=True,  # a longer timeout alone must not pass
        ge=timedelta(seconds=1),
        le=timedelta(minutes=30),
        description="How long claimed events are kept from others; more than `timeout` + 5s.",
    )
    max_in_flight: int | None = Field(
        None, ge=1, le=256, description="Most requests at once; the adapter's own number if absent."
    )
    retry: RetryConfig = Field(default_factory=RetryConfig, description="How failed deliveries are tried again.")
    consent: DestinationConsentConfig = Field(
        default_factory=DestinationConsentConfig, description="What must be allowed before it gets an event."
    )
    max_waiting: int | None = Field(
        None, ge=1, le=10**12, description="Most deliveries that wait for it; half of `store.max_waiting` if absent."
    )
    max_waiting_bytes: Size | None = Field(
        None,
        ge=1,
        description="Most bytes of events that wait for it; if absent half of `store.max_bytes`, where that is set.",
    )
    on_full: Literal["refuse", "skip"] = Field(
        "refuse",
        description="What happens to new events while that much waits for it. `refuse`: they get 503, for every "
        "destination, and are posted again. `skip`: they go to the other destinations only.",
    )
    order: Literal["oldest_first", "newest_first"] = Field(
        "oldest_first",
        description="Which of the waiting events go first; with `newest_first` a quarter is still the oldest.",
    )
    rates: tuple[RateConfig, ...] | None = Field(
        None,
        description="Most requests by all workers together, such as `[{requests: 300, per: 1m}]`; every one holds. "
        "The adapter's own if absent, none if empty.",
    )
    budget: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="Destinations with the same word here share one budget of `rates`; the adapter's own if absent.",
    )

    @field_validator("lease")
    @classmethod
    def _outlasts_attempt(cls, lease: timedelta, info: ValidationInfo) -> timedelta:
        timeout = info.data.get("timeout")
        if timeout is not None and lease <= timeout + LEASE_MARGIN:
            raise ValueError("must be longer than timeout + 5s, or an attempt under way could be claimed again")
        return lease


HEAD_FIELDS = frozenset(DestinationHead.model_fields)


def spelled(model: type[BaseModel]) -> type[BaseModel]:
    """`model`, an adapter's settings, read through `normal` as every section is."""
    if clash := HEAD_FIELDS & set(model.model_fields):
        raise TypeError(f"{model.__name__} redefines {', '.join(sorted(clash))}, which every destination has")
    return create_model(model.__name__, __base__=(Normal, model), __doc__=model.__doc__)
