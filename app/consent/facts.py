"""The facts of decoded signals that are kept as proof: what could have decided, and nothing that tells who it was."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Any

from app.consent.additional import AdditionalConsent
from app.consent.bits import ids_of
from app.consent.consent_mode import ConsentMode, State
from app.consent.flags import Flag, PurposeMap
from app.consent.gpp import GppString
from app.consent.needs import ConsentNeeds
from app.consent.onetrust import OneTrustGroups
from app.consent.shopify import ShopifyPrivacy
from app.consent.signals import ConsentSignals
from app.consent.tcf import PURPOSES, TcString
from app.consent.us_privacy import UsPrivacy
from app.consent.us_sections import UsSection
from app.wire import Consent

_PROVEN_STRINGS = ("tcf", "gpp", "ac", "onetrust_groups")
_US_FIELDS = ("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut", "KnownChildSensitiveDataConsents")


def facts_of(signals: ConsentSignals, needs: Collection[ConsentNeeds]) -> dict[str, Any]:
    """What the valid signals say, as plain values; of maps and lists only what some destination needs."""
    facts: dict[str, Any] = {}
    for name in ("consent_mode", "gcs", "gcd"):
        mode = getattr(signals, name)
        if isinstance(mode, ConsentMode):
            facts[name] = [_state(state) for state in (mode.ad_storage, mode.ad_user_data, mode.ad_personalization)]
    if isinstance(signals.purposes, PurposeMap):
        wanted = {key for each in needs for key in each.purposes}
        facts["purposes"] = {key: said for key, said in signals.purposes.allowed.items() if key in wanted}
    if isinstance(signals.tcf, TcString):
        facts["tcf"] = _tcf(signals.tcf, needs)
    if isinstance(signals.ac, AdditionalConsent):
        facts["ac"] = [each.ac_id for each in needs if each.ac_id in signals.ac.consented]
    if isinstance(signals.gpp, GppString):
        facts["gpp"] = _gpp(signals.gpp, needs)
    if isinstance(signals.us_privacy, UsPrivacy):
        facts["us_privacy"] = _us_privacy(signals.us_privacy)
    if isinstance(signals.onetrust_groups, OneTrustGroups):
        wanted = {group for each in needs for group in each.onetrust_groups}
        groups = {group: signals.onetrust_groups.get(group) for group in sorted(wanted)}
        facts["onetrust_groups"] = {**groups, "interactions": signals.onetrust_groups.interactions}
    if isinstance(signals.shopify, ShopifyPrivacy):
        facts["shopify"] = {"marketing": signals.shopify.marketing, "sale_of_data": signals.shopify.sale_of_data}
    for name in ("gpc", "child"):
        said = getattr(signals, name)
        if said in {Flag.YES, Flag.NO}:
            facts[name] = said is Flag.YES
    return facts


def _state(state: State) -> str:
    return f"{state.flag} by default" if state.is_default else str(state.flag)


def _tcf(tcf: TcString, needs: Collection[ConsentNeeds]) -> dict[str, Any]:
    vendors = sorted({each.gvl_id for each in needs if each.gvl_id is not None})
    return {
        "cmp_id": tcf.cmp_id,
        "cmp_version": tcf.cmp_version,
        "vendor_list_version": tcf.vendor_list_version,
        "policy_version": tcf.policy_version,
        "last_updated": tcf.last_updated.isoformat().replace("+00:00", "Z"),
        "purposes": ids_of(tcf.purpose_consents, PURPOSES),
        "vendors_consented": [vendor for vendor in vendors if vendor in tcf.vendor_consents],
        "vendors_disclosed": None
        if tcf.disclosed_vendors is None
        else [vendor for vendor in vendors if vendor in tcf.disclosed_vendors],
    }


def _gpp(gpp: GppString, needs: Collection[ConsentNeeds]) -> dict[str, Any]:
    facts: dict[str, Any] = {"sections": gpp.section_ids}
    if isinstance(gpp.tcf, TcString):
        facts["tcfeuv2"] = _tcf(gpp.tcf, needs)
    if gpp.us_privacy is not None:
        facts["uspv1"] = _us_privacy(gpp.us_privacy)
    return {**facts, **{section.name: _us_section(section) for section in gpp.us_sections}}


def _us_section(section: UsSection) -> dict[str, Any]:
    fields = {name: section.of(name) for name in _US_FIELDS}
    return {**{name: values for name, values in fields.items() if values}, "Gpc": section.gpc}


def _us_privacy(privacy: UsPrivacy) -> str:
    return f"1{privacy.notice}{privacy.opt_out_sale}{privacy.lspa}"


def digests_of(consent: Consent, key: bytes) -> dict[str, bytes]:
    """HMAC-SHA256 of each consent string as sent, under `key`: proves which string it was to whoever has it."""
    return {
        name: hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
        for name in _PROVEN_STRINGS
        if isinstance(text := getattr(consent, name), str)
    }
