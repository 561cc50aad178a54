"""What a policy is made of: the choices of a source, and what a destination needs to be allowed. Data, frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import Literal

from app.consent.jurisdiction import Place

TABLE_VERSION = 1
"""Grows with every change of the code that changes a decision."""

PolicyName = Literal["strict", "regional"]


@dataclass(frozen=True, slots=True)
class ConsentOptions:
    """The choices of one source.

    `opt_in` and `opt_out` are countries or `country-region`; whatever is in neither is in the notice regime.
    `gpc_in_opt_in` None leaves the browser's control to the policy: strict honours it everywhere, regional honours it
    where the law is about opting out and lets a consent stand beside it elsewhere.
    """

    policy: PolicyName = "strict"
    opt_in: frozenset[str] = frozenset({"BR", "TR", "KR", "CA-QC"})
    opt_out: frozenset[str] = frozenset({"US"})
    notice_default: Literal["deny", "forward"] = "deny"
    opt_out_default: Literal["limited", "deny", "forward"] = "limited"
    opt_out_action: Literal["limited", "deny"] = "limited"
    gpc_in_opt_in: Literal["deny", "allow"] | None = None
    on_invalid: Literal["veto", "ignore"] = "veto"
    max_age: timedelta = timedelta(days=395)
    default_place: Place | None = None
    shopify_banner: frozenset[str] = frozenset()
    onetrust_interaction: Literal["required", "assumed"] = "required"


@dataclass(frozen=True, slots=True)
class ConsentNeeds:
    """What must be allowed before one destination gets an event.

    `purposes`: keys of the shop's purpose map, all of them. `gvl_id`, `ac_id`: the vendor on IAB Europe's and on
    Google's list, None when it is on neither. `purposes_only` takes a TC string's purposes without any vendor.
    `has_consent_states`: an event can be sent whose use for personalisation was refused. `policy` overrides the
    source's. `uses_limited` false denies what could only go out limited.
    """

    purposes: tuple[str, ...] = ("ads",)
    gvl_id: int | None = None
    ac_id: int | None = None
    purposes_only: bool = False
    onetrust_groups: tuple[str, ...] = ("C0004",)
    has_consent_states: bool = False
    policy: PolicyName | None = None
    uses_limited: bool = True


def policy_version(options: ConsentOptions, needs: Sequence[tuple[str, ConsentNeeds]]) -> str:
    """A name for this policy that differs whenever it could decide differently: the table's version and a digest."""
    fields = [sorted(each) if isinstance(each, frozenset) else each for each in astuple(options)]
    told = repr((fields, [(name, astuple(each)) for name, each in needs]))
    return f"{TABLE_VERSION}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
