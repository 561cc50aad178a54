"""From the consent object of an event to signals a policy can judge. Pure; nothing here grants anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from app.consent.additional import AdditionalConsent, decode_additional
from app.consent.codes import Code, Malformed
from app.consent.consent_mode import ConsentMode, decode_gcd, decode_gcs, decode_states
from app.consent.flags import Flag, PurposeMap, decode_purposes, flag, gpc_flag
from app.consent.gpp import GppString, decode_gpp
from app.consent.memo import Memo
from app.consent.onetrust import OneTrustGroups, decode_onetrust
from app.consent.shopify import ShopifyPrivacy, decode_shopify
from app.consent.tcf import TcString, decode_tcf
from app.consent.us_privacy import UsPrivacy, decode_us_privacy
from app.model import Warn
from app.wire import Consent


@dataclass(frozen=True, slots=True)
class ConsentSignals:
    """The signals of one event, each decoded, malformed, or None when it was not sent."""

    purposes: PurposeMap | Malformed | None = None
    consent_mode: ConsentMode | Malformed | None = None
    gcs: ConsentMode | Malformed | None = None
    gcd: ConsentMode | Malformed | None = None
    tcf: TcString | Malformed | None = None
    ac: AdditionalConsent | Malformed | None = None
    gpp: GppString | Malformed | None = None
    us_privacy: UsPrivacy | Malformed | None = None
    onetrust_groups: OneTrustGroups | Malformed | None = None
    shopify: ShopifyPrivacy | Malformed | None = None
    gpc: Flag = Flag.ABSENT
    child: Flag = Flag.ABSENT
    collected_at: datetime | Malformed | None = None


NO_SIGNALS = ConsentSignals()
SIGNAL_NAMES = tuple(field.name for field in fields(ConsentSignals) if field.name not in {"child", "collected_at"})
"""The signals of a consent, as metrics and the proof name them; `consent_mode` is the three booleans together."""

_EMPTY = frozenset({Code.TCF_EMPTY, Code.GPP_EMPTY})
_STATES = ("ad_storage", "ad_user_data", "ad_personalization")
_memo_tcf = Memo(decode_tcf)
_memo_gpp = Memo(decode_gpp)


def _text(decode: Callable[[str], Any], otherwise: Code) -> Callable[[Any], Any]:
    return lambda value: decode(value) if isinstance(value, str) else Malformed(otherwise)


_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "purposes": decode_purposes,
    "gcs": decode_gcs,
    "gcd": decode_gcd,
    "tcf": _text(_memo_tcf, Code.TCF_BAD_ALPHABET),
    "ac": decode_additional,
    "gpp": _text(_memo_gpp, Code.GPP_BAD_ALPHABET),
    "us_privacy": _text(decode_us_privacy, Code.USP_MALFORMED),
    "onetrust_groups": decode_onetrust,
    "shopify": decode_shopify,
}


def read_signals(
    consent: Consent, collected_at: datetime | Malformed | None = None
) -> tuple[ConsentSignals, tuple[Warn, ...]]:
    """The signals in a consent object, and a warning for each that cannot be read.

    `collected_at` is the instant the object states, read by the caller. An empty TC or GPP string is absent.
    """
    found: dict[str, Any] = {}
    sent = consent.__dict__
    for name, decode in _DECODERS.items():
        value = sent[name]
        if value is not None:
            decoded = decode(value)
            if not (isinstance(decoded, Malformed) and decoded.kind in _EMPTY):
                found[name] = decoded
    states = [sent[name] for name in _STATES]
    if states != [None, None, None]:
        found["consent_mode"] = decode_states(*states)
    if collected_at is not None:
        found["collected_at"] = collected_at
    if not found and consent.gpc is None and consent.child is None:
        return NO_SIGNALS, ()
    signals = ConsentSignals(**found, gpc=gpc_flag(consent.gpc), child=flag(consent.child))
    is_clean = not any(isinstance(value, Malformed) for value in found.values())
    if is_clean and Flag.MALFORMED not in {signals.gpc, signals.child}:
        return signals, ()
    return signals, tuple(_warnings(consent, signals))


def _warnings(consent: Consent, signals: ConsentSignals) -> Iterator[Warn]:
    for name in (*_DECODERS, "collected_at"):
        value = getattr(signals, name)
        if isinstance(value, Malformed):
            yield _malformed(name, f"cannot be read ({value.kind}): as it is, it permits nothing")
    for name in _STATES:
        if flag(getattr(consent, name)) is Flag.MALFORMED:
            yield _malformed(name, "must be true, false or null: as it is, it permits nothing")
    for name in ("gpc", "child"):
        if getattr(signals, name) is Flag.MALFORMED:
            yield _malformed(name, "must be true, false or null: as it is, it permits nothing")


def _malformed(name: str, words: str) -> Warn:
    return Warn("consent_malformed", f"/consent/{name}", words)


def forget_strings() -> None:
    """Forget every string met so far: what a process does when it starts."""
    _memo_tcf.clear()
    _memo_gpp.clear()


def states_of(signals: ConsentSignals) -> dict[str, str]:
    """How each signal that was sent came: `valid`, or what makes it malformed."""
    states: dict[str, str] = {}
    if signals is NO_SIGNALS:
        return states
    for name in SIGNAL_NAMES:
        value = getattr(signals, name)
        if isinstance(value, Malformed):
            states[name] = str(value.kind)
        elif value is Flag.MALFORMED:
            states[name] = str(Code.GPC_MALFORMED)
        elif value is not None and value is not Flag.ABSENT:
            states[name] = "valid"
    return states
