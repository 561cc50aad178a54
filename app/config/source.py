"""The settings of a source: its keys, its policies, how its identifiers are read."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator, model_validator

from app.config.base import NAME_PATTERN, Section
from app.config.consent import SourceConsentConfig
from app.dedup.event_id import DEFAULT_TEMPLATE, faults_of_template
from app.hashing.options import HashingOptions
from app.units import Duration

KEY_PATTERN = "^sha256:[0-9a-f]{64}$"

Scope = Literal["ingest", "read", "admin", "receipts"]


class KeyConfig(Section):
    """One API key of a source, known by its hash only. A bare `sha256:…` text is a key with the default scopes."""

    hash: str = Field(description="`sha256:` and the lower-case hex digest of the key, as `convey keys new` prints it.")
    name: str | None = Field(None, min_length=1, max_length=60, description="What to call the key in logs.")
    scopes: frozenset[Scope] = Field(
        frozenset[Scope]({"ingest", "read"}), min_length=1, description="What the key may do."
    )
    expires: AwareDatetime | None = Field(None, description="Instant from which the key is refused; never when absent.")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: Any) -> Any:
        return {"hash": data} if isinstance(data, str) else data

    @field_validator("hash")
    @classmethod
    def _is_digest(cls, value: str) -> str:
        if re.fullmatch(KEY_PATTERN, value) is None:
            raise ValueError("must be sha256: and 64 lower-case hex digits, as `convey keys new` prints it")
        return value


class HashingConfig(Section):
    """How a source's identifiers are read, where no platform documents a rule. The defaults follow the pixels."""

    phone_strictness: Literal["valid", "possible"] = Field(
        "valid", description="`possible` takes phone numbers of a right length that are in no assigned range."
    )
    external_id_prehashed: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether 64 hex characters as external_id are a digest already."
    )
    external_id_case: Literal["per_platform", "keep", "lower"] = Field(
        "per_platform", description="Case of external_id before hashing; must equal what the pixel does."
    )
    idn: Literal["as_typed", "a_label", "both"] = Field(
        "as_typed", description="Internationalised e-mail domains: as typed, in their ASCII form, or both."
    )
    email_inner_blanks: Literal["remove", "refuse"] = Field(
        "remove", description="Blanks inside an e-mail address, for Google; `refuse` drops the address."
    )
    birth_date_order: Literal["refuse", "mdy", "dmy"] = Field(
        "refuse", description="How `03/04/1990` is read; `refuse` drops what cannot be told apart."
    )
    zip_plus4: Literal["keep", "cut", "both"] = Field(
        "keep", description="A US ZIP+4 at Pinterest: all nine digits, five, or both."
    )
    zip_letters: Literal["drop", "digits"] = Field(
        "drop", description="Postal codes with letters at Pinterest: left out, or their digits only."
    )
    map_provinces: bool = Field(False, description="Whether Canadian and Australian state names become codes too.")
    italian_zero: Literal["keep", "both"] = Field(
        "keep", description="`both` adds a digest without the zero that Italian land lines keep."
    )
    ignored_email_domains: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="Domains whose addresses are dropped; `*.x` stands for subdomains, `x.*` for any ending.",
    )


class SourceConfig(Section):
    """One shop or system that posts events."""

    name: str = Field(pattern=NAME_PATTERN, description="Unique name of the source; a metric label.")
    keys: tuple[KeyConfig, ...] = Field((), max_length=50, description="The API keys that post as this source.")
    destinations: tuple[str, ...] | None = Field(
        None, description="Names of the destinations its events go to; all of them when absent."
    )
    pixel: bool = Field(True, description="Whether a browser pixel fires for the same events.")
    production: bool = Field(
        False, description="Whether identifiers of documentation and test ranges are dropped, not just warned about."
    )
    default_region: str | None = Field(
        None, pattern="^[A-Z]{2}$", description="Region of national phone numbers without one, ISO 3166-1 alpha-2."
    )
    consent_policy: Literal["strict", "regional"] = Field(
        "strict",
        description="`strict`: nothing is sent without a positive signal. `regional`: as the law of the place asks.",
    )
    consent: SourceConsentConfig = Field(
        default_factory=SourceConsentConfig, description="What is known of its shoppers and its consent banner."
    )
    leak_policy: Literal["redact", "reject", "report"] = Field(
        "redact", description="What happens to personal data found outside `user`."
    )
    strict: bool = Field(False, description="Whether an unknown field makes an event invalid, instead of a warning.")
    dedup_window: Duration = Field(
        timedelta(hours=48),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="How long an event id is remembered, and a pixel's copy can be paired.",
    )
    context_retention: Duration = Field(
        timedelta(days=7),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="How long what a checkout page left for an order is kept (`PUT /v1/contexts`).",
    )
    on_conflict: Literal["skip", "send"] = Field(
        "skip", description="Whether an event whose id belongs to another transaction is sent."
    )
    event_id_template: str = Field(
        DEFAULT_TEMPLATE,
        min_length=1,
        max_length=100,
        description="Derived event ids: `{event_name}`, `{transaction}`, and if wanted `{source}`, `{occurrence}`.",
    )
    hashing: HashingConfig = Field(
        default_factory=HashingConfig, description="How its identifiers are read before they are hashed."
    )
    receipts: bool = Field(
        False, description="Whether the page reports which ids its pixel fired (`POST /v1/browser-receipts`)."
    )
    receipt_origins: tuple[str, ...] = Field(
        (),
        max_length=50,
        validate_default=True,
        description="Origins of the pages that may report, such as `https://shop.example`.",
    )
    receipts_per_minute: int = Field(
        6000, ge=1, le=1_000_000, description="Receipts taken in a minute by one process; what comes beyond gets 429."
    )
    pair_after: Duration = Field(
        timedelta(hours=1),
        ge=timedelta(minutes=1),
        le=timedelta(hours=48),
        description="How long the second copy of an event is waited for before the pair is judged.",
    )

    @field_validator("receipt_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("receipts") and not origins:
            raise ValueError("must name the pages that may report receipts")
        if wrong := [origin for origin in origins if not re.fullmatch(r"https?://[^/?#\s*@]+", origin)]:
            raise ValueError(f"must be origins such as https://shop.example, without a path; {len(wrong)} are not")
        return origins

    @field_validator("event_id_template")
    @classmethod
    def _is_template(cls, template: str) -> str:
        if wrong := faults_of_template(template):
            raise ValueError("; ".join(wrong))
        return template

    def hashing_options(self) -> HashingOptions:
        """What the hashing package needs to know of this source."""
        own = {name: getattr(self.hashing, name) for name in HashingConfig.model_fields}
        return HashingOptions(default_region=self.default_region, production=self.production, **own)
