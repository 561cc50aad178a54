"""What each signal, alone, says about one destination: an opinion with its code. `policy` makes a decision of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.consent.bits import has_id
from app.consent.codes import Code, Malformed
from app.consent.consent_mode import ConsentMode, State
from app.consent.flags import Flag, PurposeMap
from app.consent.jurisdiction import Place, Regime
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.onetrust import OneTrustGroups
from app.consent.shopify import ShopifyPrivacy
from app.consent.signals import ConsentSignals
from app.consent.tcf import PURPOSES as TCF_PURPOSES
from app.consent.tcf import TcString, invalidity, lacking
from app.consent.tcf_canada import TcfCanada
from app.consent.us_privacy import stance_of
from app.consent.us_sections import stance_of_section

MEASUREMENT = frozenset({1, 7})
"""TCF purposes without which nothing is sent: access to the device, measuring ad performance (our choice; equals what
Google derives ad_storage and ad_user_data from)."""
PERSONALIZATION = frozenset({3, 4})
"""TCF purposes for using it beyond measurement: a profile for ads, and choosing ads by it."""


class Stance(StrEnum):
    """What a signal says: yes, yes without personalisation, no, nothing about this destination, or unreadable."""

    GRANT = "grant"
    LIMITED = "limited"
    DENY = "deny"
    SILENT = "silent"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one signal says about one destination."""

    stance: Stance
    code: Code


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and when signals are judged, and by whose choices. `is_strict`: a consent is needed, whatever the place."""

    options: ConsentOptions
    regime: Regime
    place: Place | None
    now: datetime
    is_strict: bool

    @property
    def needs_consent(self) -> bool:
        """Whether the shopper must have said yes, not just not have said no."""
        return self.is_strict or self.regime in {Regime.OPT_IN, Regime.UNKNOWN}


def opinions(signals: ConsentSignals, needs: ConsentNeeds, under: Circumstances) -> list[Opinion]:
    """What each signal that was sent says about a destination with these needs. US signals are another matter.

    A signal collected too long ago, or at an instant that cannot be read, grants nothing any more; its no stays a no.
    """
    found = list(_opinions(signals, needs, under))
    spoiled = _spoiled(signals, under)
    if spoiled is None:
        return found
    return [Opinion(Stance.INVALID, spoiled) if _is_positive(each) else each for each in found]


def _is_positive(opinion: Opinion) -> bool:
    return opinion.stance in {Stance.GRANT, Stance.LIMITED}


def _spoiled(signals: ConsentSignals, under: Circumstances) -> Code | None:
    collected = signals.collected_at
    if isinstance(collected, Malformed):
        return collected.kind
    return Code.SIGNAL_STALE if collected is not None and collected < under.now - under.options.max_age else None


def _opinions(signals: ConsentSignals, needs: ConsentNeeds, under: Circumstances) -> Iterator[Opinion]:
    for sent in (
        signals.purposes,
        signals.consent_mode,
        signals.gcs,
        signals.gcd,
        signals.tcf,
        signals.ac,
        signals.onetrust_groups,
        signals.shopify,
    ):
        if sent is not None and isinstance(sent, Malformed):
            yield Opinion(Stance.INVALID, sent.kind)
    if isinstance(signals.purposes, PurposeMap):
        yield _of_purposes(signals.purposes, needs)
    yield from _of_consent_mode(signals, needs, under)
    gpp_tcf = getattr(signals.gpp, "tcf", None)
    for tcf in (signals.tcf, gpp_tcf):
        if isinstance(tcf, TcString):
            yield _of_tcf(tcf, signals, needs, under)
    if isinstance(gpp_tcf, Malformed):
        yield Opinion(Stance.INVALID, gpp_tcf.kind)
    if signals.ac is not None and signals.tcf is None and gpp_tcf is None:
        yield Opinion(Stance.SILENT, Code.AC_ABSENT)  # valid only beside a TC string
    canada = getattr(signals.gpp, "tcf_canada", None)
    if canada is not None and under.place is not None and under.place.country == "CA" and under.needs_consent:
        yield _of_canada(canada, needs)
    if isinstance(signals.onetrust_groups, OneTrustGroups):
        yield _of_onetrust(signals.onetrust_groups, needs, under)
    if isinstance(signals.shopify, ShopifyPrivacy):
        yield _of_shopify(signals.shopify, under)


def _of_purposes(purposes: PurposeMap, needs: ConsentNeeds) -> Opinion:
    said = [purposes.allowed.get(key) for key in needs.purposes]
    if False in said:
        return Opinion(Stance.DENY, Code.MAP_DENIED)
    if None in said:
        return Opinion(Stance.SILENT, Code.MAP_KEY_MISSING)
    return Opinion(Stance.GRANT, Code.MAP_GRANTED)


def _of_consent_mode(signals: ConsentSignals, needs: ConsentNeeds, under: Circumstances) -> Iterator[Opinion]:
    whole = [mode for mode in (signals.consent_mode, signals.gcd) if isinstance(mode, ConsentMode)]
    for mode in whole:
        yield _of_states(mode, needs, under)
    if isinstance(signals.gcs, ConsentMode):
        storage = signals.gcs.ad_storage.flag
        if storage is Flag.NO:
            yield Opinion(Stance.DENY, Code.CM_DENIED)
        elif not whole:
            # The only state known: it may speak for all of them where the policy is not strict.
            is_enough = storage is Flag.YES and not under.is_strict
            yield Opinion(Stance.GRANT, Code.CM_GRANTED) if is_enough else Opinion(Stance.SILENT, Code.CM_UNSET)


def _of_states(mode: ConsentMode, needs: ConsentNeeds, under: Circumstances) -> Opinion:
    needed = [mode.ad_storage, mode.ad_user_data]
    every = [*needed, mode.ad_personalization]
    flags = [state.flag for state in every]
    if Flag.NO in flags:
        is_measured = all(state.flag is Flag.YES for state in needed)
        has_mode = needs.has_consent_states or under.regime is Regime.OPT_OUT
        if is_measured and has_mode and not under.is_strict and not _is_only_default(needed, under):
            return Opinion(Stance.LIMITED, Code.CM_GRANTED_NO_PERSONALIZATION)
        return Opinion(Stance.DENY, Code.CM_DENIED)
    if Flag.ABSENT in flags:
        return Opinion(Stance.SILENT, Code.CM_UNSET)
    if _is_only_default(every, under):
        return Opinion(Stance.SILENT, Code.CM_DEFAULT_ONLY)
    return Opinion(Stance.GRANT, Code.CM_GRANTED)


def _is_only_default(states: Sequence[State], under: Circumstances) -> bool:
    return under.needs_consent and any(state.is_default for state in states)


def _of_tcf(tcf: TcString, signals: ConsentSignals, needs: ConsentNeeds, under: Circumstances) -> Opinion:
    invalid = invalidity(tcf, under.now)
    if invalid is not None:
        return Opinion(Stance.INVALID, invalid)
    refused = lacking(tcf, needs.gvl_id, MEASUREMENT)
    if needs.gvl_id is not None:
        granted = Code.TCF_GRANTED
        if refused is not None:
            return Opinion(Stance.DENY, refused)
    elif needs.ac_id is not None:
        granted = Code.AC_GRANTED
        if refused is not None:
            return Opinion(Stance.DENY, refused)
        if isinstance(signals.ac, Malformed) or signals.ac is None:
            return Opinion(Stance.SILENT, Code.AC_ABSENT)
        if needs.ac_id in signals.ac.disclosed:
            return Opinion(Stance.DENY, Code.AC_DENIED)
        if needs.ac_id not in signals.ac.consented:
            return Opinion(Stance.SILENT, Code.AC_ABSENT)
    elif needs.purposes_only:
        granted = Code.TCF_GRANTED
        if refused is not None:
            return Opinion(Stance.DENY, refused)
    else:
        # Nobody asked about this vendor. What was refused to everybody is refused to it all the same.
        return Opinion(Stance.SILENT if refused is None else Stance.DENY, Code.TCF_NO_VENDOR_BASIS)
    if lacking(tcf, needs.gvl_id, PERSONALIZATION) is None:
        return Opinion(Stance.GRANT, granted)
    return Opinion(Stance.LIMITED if needs.has_consent_states else Stance.DENY, Code.TCF_GRANTED_NO_PERSONALIZATION)


def _of_canada(canada: TcfCanada, needs: ConsentNeeds) -> Opinion:
    """Express consent only. A vendor that was not disclosed has none."""
    if needs.gvl_id is None:
        return Opinion(Stance.SILENT, Code.TCF_NO_VENDOR_BASIS)
    has_purposes = all(
        has_id(canada.express_purposes, TCF_PURPOSES, purpose) for purpose in MEASUREMENT | PERSONALIZATION
    )
    is_disclosed = canada.disclosed_vendors is not None and needs.gvl_id in canada.disclosed_vendors
    if has_purposes and is_disclosed and needs.gvl_id in canada.express_vendors:
        return Opinion(Stance.GRANT, Code.TCFCA_GRANTED)
    return Opinion(Stance.DENY, Code.TCFCA_DENIED)


def _of_onetrust(onetrust: OneTrustGroups, needs: ConsentNeeds, under: Circumstances) -> Opinion:
    said = [onetrust.get(group) for group in needs.onetrust_groups]
    if False in said:
        return Opinion(Stance.DENY, Code.OT_DENIED)
    if None in said:
        return Opinion(Stance.SILENT, Code.OT_DENIED)
    is_assumed = under.options.onetrust_interaction == "assumed" and onetrust.interactions is None
    if under.needs_consent and not onetrust.interactions and not is_assumed:
        return Opinion(Stance.SILENT, Code.OT_NO_INTERACTION)
    return Opinion(Stance.GRANT, Code.OT_GRANTED)


def _of_shopify(shopify: ShopifyPrivacy, under: Circumstances) -> Opinion:
    said = [shopify.marketing, shopify.sale_of_data]
    if False in said:
        return Opinion(Stance.DENY, Code.SHOPIFY_DENIED)
    has_banner = under.place is not None and under.place.is_in(under.options.shopify_banner)
    if None in said or (under.needs_consent and not has_banner):
        return Opinion(Stance.SILENT, Code.SHOPIFY_DENIED)
    return Opinion(Stance.GRANT, Code.SHOPIFY_GRANTED)


_US_STRICTEST_FIRST = (
    Code.US_GPC_OPT_OUT,
    Code.US_OPTED_OUT,
    Code.US_NO_NOTICE,
    Code.US_SERVICE_PROVIDER_MODE,
    Code.US_NOT_APPLICABLE,
    Code.US_NOT_OPTED_OUT,
)


@dataclass(frozen=True, slots=True)
class UsSignals:
    """What the US signals say together. `code` is the most restrictive, None without any.

    `is_child`: a section, or the shop, knows a child without consent. `has_gpc`: the browser's control is on, wherever
    that was said. `malformed` is what is wrong with those that cannot be read.
    """

    code: Code | None
    is_child: bool
    has_gpc: bool
    malformed: tuple[Code, ...]


_NO_US_SIGNALS = UsSignals(None, is_child=False, has_gpc=False, malformed=())


def us_signals(signals: ConsentSignals) -> UsSignals:
    """What US sections, US Privacy strings and the browser's control say, and whether a child is known."""
    said = (signals.gpp, signals.us_privacy, signals.onetrust_groups)
    if said == (None, None, None) and signals.gpc is Flag.ABSENT and signals.child is Flag.ABSENT:
        return _NO_US_SIGNALS
    stances: list[Code] = []
    malformed: list[Code] = []
    has_gpc = signals.gpc is Flag.YES or getattr(signals.onetrust_groups, "is_gpc", False)
    for privacy in (signals.us_privacy, getattr(signals.gpp, "us_privacy", None)):
        if isinstance(privacy, Malformed):
            malformed.append(privacy.kind)
        elif privacy is not None:
            stances.append(stance_of(privacy))
    if isinstance(signals.gpp, Malformed):
        malformed.append(signals.gpp.kind)
    for section in getattr(signals.gpp, "us_sections", ()):
        stances.append(stance_of_section(section))
        has_gpc = has_gpc or section.gpc is True
    if signals.gpc is Flag.MALFORMED:
        malformed.append(Code.GPC_MALFORMED)
    if signals.child is Flag.MALFORMED:
        malformed.append(Code.CHILD_MALFORMED)
    is_child = signals.child is Flag.YES or Code.CHILD_NO_CONSENT in stances
    code = next((each for each in _US_STRICTEST_FIRST if each in stances), None)
    return UsSignals(code, is_child, has_gpc, tuple(malformed))
