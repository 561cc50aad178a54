"""Consent as one event brings it: its signals, when and where they were given, the proof of what was decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from app import facts
from app.consent.codes import Code, Malformed
from app.consent.facts import digests_of, facts_of
from app.consent.jurisdiction import Place, Regime, in_country, place, settle
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.policy import ConsentDecision, decide
from app.consent.signals import ConsentSignals, read_signals, states_of
from app.errors import Outcome
from app.hashing.places import country
from app.model import ConsentFacts, Verdict, Warn
from app.proof import ConsentProof, ProvenDecision
from app.wire import Event


@dataclass(frozen=True, slots=True)
class Given:
    """The signals of one event, the regime they are judged in, and the place that regime comes from."""

    signals: ConsentSignals
    regime: Regime
    place: Place | None
    warnings: tuple[Warn, ...]


def consent_of(event: Event, options: ConsentOptions, now: datetime) -> Given:
    """What an event says of consent, and where."""
    signals, warnings = read_signals(event.consent, _collected_at(event, now))
    return Given(signals, *_where(event, options), warnings)


def _collected_at(event: Event, now: datetime) -> datetime | Malformed | None:
    """When the shopper chose, as stated; no instant that lies ahead or cannot be read counts."""
    if event.consent.collected_at is None:
        return None
    instant = facts.instant(event.consent.collected_at)
    if instant is None or instant > now + facts.CLOCK_TOLERANCE:
        return Malformed(Code.COLLECTED_AT_MALFORMED)
    return instant


def _where(event: Event, options: ConsentOptions) -> tuple[Regime, Place | None]:
    """The regime an event is judged in. What it says itself goes before the source's default."""
    stated: list[Place | None] = []
    if event.consent.jurisdiction:
        stated.append(place(event.consent.jurisdiction))
    region = _only(event.user.state)
    for text in _texts(event.user.country):
        code = country(text)
        found = in_country(code, region) if isinstance(code, str) else None
        if found is not None or not event.consent.jurisdiction:
            stated.append(found)
    return settle(stated, options.default_place, options.opt_in, options.opt_out)


def _texts(values: str | list[str | None] | None) -> list[str]:
    return [text for text in ([values] if isinstance(values, str) else values or ()) if text]


def _only(values: str | list[str | None] | None) -> str | None:
    """The one text there is; None when there are several, or none."""
    texts = _texts(values)
    return texts[0] if len(texts) == 1 else None


def decisions_of(
    given: Given, needs: Iterable[ConsentNeeds], options: ConsentOptions, now: datetime
) -> Mapping[ConsentNeeds, ConsentDecision]:
    """What is decided for destinations of these needs, each need once."""
    where = given.regime, given.place
    return {each: decide(given.signals, each, options, where, now) for each in needs}


def strictest(asked: Collection[ConsentFacts]) -> ConsentFacts:
    """The strictest of what several destinations may be told, state by state; nothing when there are none."""
    return ConsentFacts(
        _strictest([each.ad_user_data for each in asked]), _strictest([each.ad_personalization for each in asked])
    )


def _strictest(states: Collection[bool | None]) -> bool | None:
    if False in states:
        return False
    return True if states and None not in states else None


def prove(
    event: Event,
    given: Given,
    gates: Mapping[str, ConsentDecision],
    verdicts: Mapping[str, Verdict],
    *,
    policy: str,
    needs: Collection[ConsentNeeds],
    key: bytes,
    now: datetime,
) -> ConsentProof:
    """The proof for every destination that consent was the question for. `policy` names what decided, `key` digests."""
    signals = given.signals
    decisions = {}
    for name, gate in gates.items():
        if gate.detail is None:
            continue  # not routed, or no test mode
        verdict = verdicts[name]
        if verdict.outcome is Outcome.DENIED:
            decisions[name] = ProvenDecision(Outcome.DENIED, verdict.reason, verdict.reason_detail, False)
        else:
            decisions[name] = ProvenDecision(Outcome.QUEUED, None, gate.detail, gate.limited)
    return ConsentProof(
        decided_at=now,
        policy=policy,
        regime=given.regime.value,
        place=None if given.place is None else str(given.place),
        collected_at=signals.collected_at if isinstance(signals.collected_at, datetime) else None,
        signals=states_of(signals),
        facts=facts_of(signals, needs),
        digests=digests_of(event.consent, key),
        decisions=decisions,
    )
