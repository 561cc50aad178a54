"""The settings of consent: for everyone, for one source, for one destination; and the values made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.config.base import Section
from app.consent.jurisdiction import ALWAYS_OPT_IN, EEA, Place, place
from app.consent.needs import ConsentNeeds, ConsentOptions, PolicyName
from app.consent.table import DECIDED_AT, SITUATIONS, in_words, rows
from app.consent.vendors import vendors
from app.units import Duration


def _place(code: str) -> str:
    if place(code) is None:
        raise ValueError("must be a country such as BR, or one with a region such as CA-QC")
    return code.strip().upper()


def _gated(listed: tuple[str, ...]) -> tuple[str, ...]:
    if not listed:
        raise ValueError("must name at least one: with none, the destination would not be gated at all")
    return listed


PlaceCode = Annotated[str, AfterValidator(_place)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class ConsentConfig(Section):
    """How consent is judged, for every source. What each setting decides is in the page about consent."""

    opt_in: tuple[PlaceCode, ...] = Field(
        ("BR", "TR", "KR", "CA-QC"),
        description="Places beyond EEA, GB and CH, always among them, where consent is needed first.",
    )
    opt_out: tuple[PlaceCode, ...] = Field(("US",), description="Places where people opt out. Elsewhere: notice.")
    notice_default: Literal["deny", "forward"] = Field(
        "deny", description="What happens in places of neither list when no signal says anything."
    )
    opt_out_default: Literal["limited", "deny", "forward"] = Field(
        "limited", description="What happens where people opt out when no signal says anything."
    )
    opt_out_action: Literal["limited", "deny"] = Field(
        "limited", description="What an opt-out leads to: the platform's limited mode, or nothing sent."
    )
    gpc_in_opt_in: Literal["deny", "allow"] | None = Field(
        None,
        description="Whether a browser's global privacy control outweighs a consent; by default under `strict` only.",
    )
    on_invalid: Literal["veto", "ignore"] = Field(
        "veto", description="Whether a signal that cannot be read outweighs another that permits."
    )
    max_age: Duration = Field(
        timedelta(days=395),
        ge=timedelta(days=1),
        le=timedelta(days=395),
        description="How long a permission holds after `collected_at`; TC strings always 395 days.",
    )
    proof_retention: Duration = Field(
        timedelta(days=90),
        ge=timedelta(days=1),
        le=timedelta(days=1096),
        description="How long the proof of each decision is kept; export what must be shown for longer.",
    )

    @model_validator(mode="after")
    def _is_one_regime(self) -> ConsentConfig:
        if both := sorted(set(self.opt_in) & set(self.opt_out)):
            raise ValueError(f"opt_in and opt_out both name {', '.join(both)}")
        if fixed := sorted(ALWAYS_OPT_IN & set(self.opt_out)):
            raise ValueError(f"opt_out names {', '.join(fixed)}, where consent is always needed")
        return self


class SourceConsentConfig(Section):
    """What is known of one source's shoppers and of its consent banner."""

    default_jurisdiction: PlaceCode | None = Field(
        None, description="Where its shoppers are when an event does not say; unknown when absent."
    )
    shopify_banner: tuple[PlaceCode, ...] = Field(
        (), description="Places in which the Shopify shop shows its consent banner; `EEA` stands for all of it."
    )
    onetrust_interaction: Literal["required", "assumed"] = Field(
        "required",
        description="Whether OneTrust groups count without an `interactionCount`; `assumed` if its banner opts in.",
    )


class DestinationConsentConfig(Section):
    """What must be allowed before a destination gets an event."""

    policy: PolicyName | None = Field(
        None, description="`strict` or `regional` for this destination alone; the source's when absent."
    )
    purposes: Annotated[tuple[Key, ...], AfterValidator(_gated)] = Field(
        ("ads",), max_length=16, description="Keys of the purpose map that must all be true."
    )
    onetrust_groups: Annotated[tuple[Key, ...], AfterValidator(_gated)] = Field(
        ("C0004",), max_length=16, description="OneTrust groups that must all be on."
    )
    gvl_id: int | None = Field(
        None, ge=1, le=65_535, description="Its vendor on IAB Europe's list; known for the platforms that are on it."
    )
    ac_id: int | None = Field(None, ge=1, le=65_535, description="Its provider on Google's Additional Consent list.")
    tcf_purposes_only: bool = Field(
        False, description="Whether a TC string's purposes suffice without any vendor: a risk you take."
    )
    limited: Literal["use", "deny"] = Field(
        "use", description="Whether its limited mode is used; `deny` sends nothing where only that would be allowed."
    )

    @model_validator(mode="after")
    def _is_one_basis(self) -> DestinationConsentConfig:
        if self.tcf_purposes_only and (self.gvl_id or self.ac_id):
            raise ValueError("tcf_purposes_only contradicts gvl_id and ac_id: with a vendor, its consent is needed")
        return self


def consent_options(consent: ConsentConfig, source: SourceConsentConfig, policy: PolicyName) -> ConsentOptions:
    """The choices under which a source's events are judged."""
    return ConsentOptions(
        policy=policy,
        opt_in=frozenset(consent.opt_in),
        opt_out=frozenset(consent.opt_out),
        notice_default=consent.notice_default,
        opt_out_default=consent.opt_out_default,
        opt_out_action=consent.opt_out_action,
        gpc_in_opt_in=consent.gpc_in_opt_in,
        on_invalid=consent.on_invalid,
        max_age=consent.max_age,
        default_place=_known(source.default_jurisdiction),
        shopify_banner=_spelt_out(source.shopify_banner),
        onetrust_interaction=source.onetrust_interaction,
    )


def _known(code: str | None) -> Place | None:
    return None if code is None else place(code)


def _spelt_out(codes: Sequence[str]) -> frozenset[str]:
    named = {code for code in codes if code not in {"EEA", "EU"}}
    return frozenset(named | (EEA if len(named) < len(set(codes)) else set()))


def consent_needs(kind: str, consent: DestinationConsentConfig, *, has_consent_states: bool) -> ConsentNeeds:
    """What a destination of this type needs: its own settings, and the dated list where they are silent."""
    listed = vendors().of(kind)
    is_mapped = consent.tcf_purposes_only or consent.ac_id is not None
    return ConsentNeeds(
        purposes=consent.purposes,
        gvl_id=consent.gvl_id or (None if is_mapped else listed.gvl_id),
        ac_id=consent.ac_id,
        purposes_only=consent.tcf_purposes_only,
        onetrust_groups=consent.onetrust_groups,
        has_consent_states=has_consent_states,
        policy=consent.policy,
        uses_limited=consent.limited == "use",
    )


def summary_of(needs: ConsentNeeds) -> dict[str, Any]:
    """What a destination needs, in the words of the configuration, with what the dated list added."""
    return {
        "policy": needs.policy,
        "purposes": list(needs.purposes),
        "onetrust_groups": list(needs.onetrust_groups),
        "gvl_id": needs.gvl_id,
        "ac_id": needs.ac_id,
        "tcf_purposes_only": needs.purposes_only,
        "limited": "use" if needs.uses_limited else "deny",
    }


TOLD = (
    "nothing said",
    "three booleans: all true",
    "three booleans: user data false",
    "US Privacy: opted out",
    "GPC beside a consent",
    "a consent beside an unreadable signal",
)
"""The situations that `convey config show` decides; the page about consent has all of them."""


def effective(options: ConsentOptions, needs: ConsentNeeds) -> dict[str, dict[str, str]]:
    """What is decided for a destination, by kind of place and situation, in words."""
    table: dict[str, dict[str, str]] = {}
    for row in rows(options, needs, DECIDED_AT, {name: SITUATIONS[name] for name in TOLD}):
        table.setdefault(row.place, {})[row.situation] = in_words(row.decision)
    return table
