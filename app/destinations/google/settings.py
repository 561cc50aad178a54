"""What is configured about one Google Ads account, and the tables that give its settings their meaning."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from app.destinations.base import Convert, MappedSettings, as_amount, as_text, as_texts, one_of
from app.units import Duration

SCOPE = "https://www.googleapis.com/auth/datamanager"  # set-up-access, documented
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  where tokens are got, not one

REFUND = "Refund"
REFUNDED = "Purchase"
"""A Refund has no conversion action of its own: it adjusts the conversion of its Purchase."""

MAX_ACTIONS = 10  # limits, documented: destinations in one request

EventSource = Literal["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"]
EVENT_SOURCES: dict[str, EventSource] = {  # inferred from the names; a setting can say otherwise
    "website": "WEB",
    "app": "APP",
    "physical_store": "IN_STORE",
    "phone_call": "PHONE",
    "chat": "MESSAGE",
    "business_messaging": "MESSAGE",
    "email": "OTHER",
    "system_generated": "OTHER",
    "other": "OTHER",
}

ASSIGNABLE: dict[str, Convert] = {  # fields of Google's (library) that an event has no place for
    "conversionCount": as_amount,
    "cartData.couponCodes": as_texts,
    "cartData.transactionDiscount": as_amount,
    "userProperties.customerValueBucket": one_of("LOW", "MEDIUM", "HIGH"),
    "callInfo.startTimestamp": as_text,
    "adIdentifiers.sessionAttributes": as_text,
}


def _digits(value: Any) -> str:
    bare = str(value).replace("-", "") if isinstance(value, str | int) else ""
    if isinstance(value, bool) or re.fullmatch(r"[0-9]{1,19}", bare, re.ASCII) is None:
        raise ValueError("must be an id of digits, such as 123-456-7890 or 1234567890")
    return bare


N = TypeVar("N", dict[str, str], tuple[str, ...])
Id = Annotated[str, BeforeValidator(_digits)]
"""An account's or a conversion action's id; the hyphens people write are dropped (destinations, documented)."""


class GoogleSettings(MappedSettings):
    """One Google Ads account, through the Data Manager API."""

    assignable: ClassVar = ASSIGNABLE

    base_url: str = Field("https://datamanager.googleapis.com", description="Origin of the Data Manager API.")
    api_version: str = Field("v1", pattern=r"^v[0-9]{1,2}$", description="API version.")
    operating_account: Id = Field(description="The Google Ads account that owns the conversion actions.")
    login_account: Id | None = Field(
        None, description="The account in which the credential has access, if that is a manager's."
    )
    linked_account: Id | None = Field(None, description="For data partners only: the account linked to the operating.")
    conversion_actions: dict[str, Id] = Field(
        min_length=1, description="The conversion action (`ctId`) of each event; an event without one is skipped."
    )
    credentials: SecretStr = Field(
        description="JSON of a service account's key, or of a user's refresh token (`authorized_user`)."
    )
    token_url: str | None = Field(
        None, description=f"Where access tokens are got: what the credentials say, else {TOKEN_URL}."
    )
    quota_project: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9:.-]{2,60}$",
        description="Cloud project whose quota is used, if it is not the credential's own.",
    )
    test: bool = Field(
        False, description="Take events posted with `test: true`, and only validate them. Live events stay live."
    )
    event_names: dict[str, str] = Field({}, description="Google has no event names: use conversion_actions.")
    event_sources: dict[str, EventSource] = Field(
        {}, description="Google's event source to send instead, by action_source."
    )
    custom_variables: dict[str, str] = Field(
        {}, description="Custom property to name of the custom variable in the account; never personal data."
    )
    merchant_id: Id | None = Field(None, description="Merchant Center id; with it, baskets are sent as cart data.")
    merchant_feed_label: str | None = Field(None, pattern=r"^[A-Z0-9_-]{1,20}$", description="Feed label of the ids.")
    merchant_feed_language: str | None = Field(
        None, pattern=r"^[a-z]{2}$", description="Feed language of the ids, ISO 639-1."
    )
    tags: dict[str, str] = Field(
        {}, description="`send_to` of the Google tag on the page, such as `AW-123/AbC`, by event: for ready-made calls."
    )
    send_lead_id: bool = Field(
        False, description="Whether `user.lead_id` is the id of a Google lead form; other platforms' ids are not."
    )
    without_deduplication: tuple[str, ...] = Field(
        ("physical_store", "phone_call"),
        description="Action sources whose conversions Google does not recognise again by their transaction id.",
    )
    status_after: Duration = Field(
        timedelta(minutes=30),
        ge=timedelta(0),
        le=timedelta(days=1),
        description="How long after a request was taken Google is first asked what became of it.",
    )
    max_age: Duration = Field(timedelta(days=90), gt=timedelta(0), description="Oldest event to send.")
    adjustment_window: Duration = Field(
        timedelta(days=55), gt=timedelta(0), description="How long a conversion can be adjusted, and is recognised."
    )

    @field_validator("credentials")
    @classmethod
    def _is_credential(cls, secret: SecretStr) -> SecretStr:
        _read(secret)
        return secret

    @field_validator("token_url")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        if url is not None and not _is_token_url(url):
            raise ValueError("must be an https URL, or plain http to loopback")
        return url

    @field_validator("conversion_actions")
    @classmethod
    def _without_refund(cls, actions: dict[str, str]) -> dict[str, str]:
        if REFUND in actions:
            raise ValueError("a Refund adjusts its Purchase, and has no conversion action: leave it out")
        return actions

    @field_validator("event_names")
    @classmethod
    def _no_names(cls, names: dict[str, str]) -> dict[str, str]:
        if names:
            raise ValueError("Google has no event names: conversion_actions says where each event goes")
        return names

    @field_validator("event_sources", "without_deduplication")
    @classmethod
    def _are_action_sources(cls, named: N) -> N:
        if not EVENT_SOURCES.keys() >= set(named):
            raise ValueError(f"must name action sources: {', '.join(EVENT_SOURCES)}")
        return named

    def action(self, event_name: str) -> str | None:
        """The conversion action of an event; None where there is none."""
        if event_name in self.skip_events:
            return None
        return self.conversion_actions.get(REFUNDED if event_name == REFUND else event_name)

    def project(self) -> str:
        """What the quota is counted by: the Cloud project, as far as the settings and the credential tell it."""
        info = _read(self.credentials)
        stated = self.quota_project or info.get("quota_project_id") or info.get("project_id")
        if isinstance(stated, str) and stated:
            return stated
        if info["type"] == "service_account":
            return str(info["client_email"]).partition("@")[2]
        return str(info["client_id"]).partition("-")[0]  # an OAuth client's id begins with its project's number

    def credential(self) -> str:
        """The credential with the token endpoint in it, in one spelling, for `TokenFor`."""
        info = _read(self.credentials)
        kept = {key: info[key] for key in ("type", *_FIELDS[info["type"]])}
        kept |= {key: info[key] for key in ("private_key_id",) if isinstance(info.get(key), str)}
        kept["token_uri"] = self.token_url or info.get("token_uri") or TOKEN_URL
        return json.dumps(kept, sort_keys=True)


_FIELDS = {
    "service_account": ("client_email", "private_key"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
}


def _read(secret: SecretStr) -> dict[str, Any]:
    """The credential's JSON. No message holds any of it."""
    info: Any
    try:
        info = json.loads(secret.get_secret_value())
    except ValueError:
        raise ValueError("must be the JSON file of a service account's key or of an authorized user") from None
    kind = info.get("type") if isinstance(info, dict) else None
    if kind not in _FIELDS:
        raise ValueError("its type must be service_account or authorized_user")
    if missing := [name for name in _FIELDS[kind] if not isinstance(info.get(name), str) or not info[name]]:
        raise ValueError(f"lacks {', '.join(missing)}")
    if kind == "service_account" and "-----BEGIN" not in info["private_key"]:
        raise ValueError("its private_key must be in PEM")
    if not _is_token_url(info.get("token_uri") or TOKEN_URL):
        raise ValueError("its token_uri must be an https URL, or plain http to loopback")
    return dict(info)


def _is_token_url(url: Any) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback))
