"""The decision table: situations, and what is decided in each. The code decides; docs and `config show` print it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.consent.jurisdiction import Place, settle
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.policy import ConsentDecision, decide
from app.consent.signals import read_signals
from app.errors import Outcome
from app.wire import Consent

PLACES: Mapping[str, Place | None] = {
    "consent first (EEA, GB, CH, …)": Place("DE"),
    "opt-out (US)": Place("US", "CA"),
    "notice (elsewhere)": Place("JP"),
    "unknown": None,
}
"""One place for each regime."""

_STATES = ("ad_storage", "ad_user_data", "ad_personalization")
SITUATIONS: Mapping[str, Mapping[str, Any]] = {
    "nothing said": {},
    "purposes: all allowed": {"purposes": {"ads": True}},
    "purposes: one refused": {"purposes": {"ads": False}},
    "purposes: key missing": {"purposes": {"analytics": True}},
    "purposes: no boolean": {"purposes": {"ads": "true"}},
    "three booleans: all true": dict.fromkeys(_STATES, True),
    "three booleans: only personalisation false": {**dict.fromkeys(_STATES, True), "ad_personalization": False},
    "three booleans: user data false": {**dict.fromkeys(_STATES, True), "ad_user_data": False},
    "three booleans: one absent": {"ad_storage": True, "ad_user_data": True},
    "three booleans: one no boolean": {**dict.fromkeys(_STATES, True), "ad_storage": "yes"},
    "gcd: all granted by the user": {"gcd": "13r3r3r3r5l1"},
    "gcd: all granted by default only": {"gcd": "13t3t3t3t5l1"},
    "gcs: ad_storage granted": {"gcs": "G111"},
    "gcs: ad_storage denied": {"gcs": "G101"},
    "US Privacy: not opted out": {"us_privacy": "1YNN"},
    "US Privacy: opted out": {"us_privacy": "1YYN"},
    "US Privacy: no notice": {"us_privacy": "1NNN"},
    "US Privacy: not applicable": {"us_privacy": "1---"},
    "US Privacy: unreadable": {"us_privacy": "1ynn"},
    "GPC alone": {"gpc": True},
    "GPC beside a consent": {**dict.fromkeys(_STATES, True), "gpc": True},
    "opted out beside a consent": {**dict.fromkeys(_STATES, True), "us_privacy": "1YYN"},
    "OneTrust: group on, banner answered": {"onetrust_groups": {"groups": "C0004:1", "interactionCount": 1}},
    "OneTrust: group on, banner not answered": {"onetrust_groups": {"groups": "C0004:1", "interactionCount": 0}},
    "OneTrust: group off": {"onetrust_groups": {"groups": "C0004:0", "interactionCount": 1}},
    "Shopify: allowed": {"shopify": {"marketingAllowed": True, "saleOfDataAllowed": True}},
    "Shopify: refused": {"shopify": {"marketingAllowed": False, "saleOfDataAllowed": True}},
    "two signals disagree": {**dict.fromkeys(_STATES, True), "purposes": {"ads": False}},
    "a consent beside an unreadable signal": {**dict.fromkeys(_STATES, True), "tcf": "no TC string"},
    "a consent collected 14 months ago": {**dict.fromkeys(_STATES, True), "collected_at": True},
    "a child without consent": {**dict.fromkeys(_STATES, True), "child": True},
}
"""Consent objects as posted. `collected_at` true stands for an instant beyond the age limit."""


_GOOGLE_CORE = "CQsIOsAQsIOsAEsAHBENAsFgAPLAAELAAAYgF5wAQF5gXnABAXmAAAAA"
_GOOGLE = f"{_GOOGLE_CORE}.IF5wAQF5gAAA"
LISTED_SITUATIONS: Mapping[str, Mapping[str, Any]] = {
    "TC string: Google and all purposes allowed": {"tcf": _GOOGLE},
    "TC string: measurement only (purposes 1, 7, 9, 10)": {
        "tcf": "CQsIOsAQsIOsAEsAHBENAsFgAILAAAAAAAYgIzQBAF5gMkAe0BGYAAAAAAAA.IIzQBAF5gMkAe0BGYAAA"
    },
    "TC string: purposes allowed, Google refused": {
        "tcf": "CQsIOsAQsIOsAEsAHBENAsFgAPLAAAAAAAYgHtQAgGSAPaAAAAAA.IHtQAwF5gMkAe0AA"
    },
    "TC string: everything refused": {"tcf": "CQsIOsAQsIOsAEsAHBENAsFgAAAAAAAAAAYgAAAAAAAA.IAAA"},
    "TC string: older than 395 days": {"tcf": "CQXh3sAQXh3sAEsAHBENAsFgAPLAAAAAAAYgF5wAQF5gAAAA.IF5wAQF5gAAA"},
    "TC string of today without disclosed vendors": {"tcf": _GOOGLE_CORE},
    "TC string: cut off": {"tcf": _GOOGLE[:30]},
    "TC string beside three booleans, all true": {"tcf": _GOOGLE, **dict.fromkeys(_STATES, True)},
    "GPP string: a TC string that allows": {"gpp": f"DBABMA~{_GOOGLE}"},
    "GPP string: California, not opted out": {"gpp": "DBABBg~BUoAAACA"},
    "GPP string: California, opted out of sale": {"gpp": "DBABBg~BUYAAACA"},
    "GPP string: California, not opted out, browser's control on": {"gpp": "DBABBg~BUoAAACA.YA"},
    "GPP string: national, a child without consent": {"gpp": "DBABLA~CVQqAAAAAFSA"},
    "GPP string: cut off": {"gpp": "DBABLA~CVQa"},
}
"""Strings made with the reference encoders, judged at `DECIDED_AT`."""
DECIDED_AT = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the table: a situation in a place, and what is decided."""

    situation: str
    place: str
    decision: ConsentDecision


def rows(
    options: ConsentOptions,
    needs: ConsentNeeds,
    now: datetime,
    situations: Mapping[str, Mapping[str, Any]] = SITUATIONS,
    places: Iterable[str] = tuple(PLACES),
) -> list[Row]:
    """Every situation in every place, decided at `now` for a destination with these needs."""
    found = []
    for situation, said in situations.items():
        is_old = said.get("collected_at") is True
        signals, _ = read_signals(Consent.model_validate(said), now - options.max_age * 1.1 if is_old else None)
        for name in places:
            where = settle([PLACES[name]], None, options.opt_in, options.opt_out)
            found.append(Row(situation, name, decide(signals, needs, options, where, now)))
    return found


def in_words(decision: ConsentDecision) -> str:
    """A decision in short: `queued`, `queued, limited`, or `denied: reason`, and the code."""
    if decision.outcome is Outcome.DENIED:
        return f"denied: {decision.reason} ({decision.detail})"
    return f"queued{', limited' if decision.limited else ''} ({decision.detail})"
