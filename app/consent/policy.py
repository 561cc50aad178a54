"""From signals to a decision for one destination. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.consent.signals import ConsentSignals, Flag
from app.errors import Outcome, Reason
from app.model import ConsentFacts

Policy = Literal["strict"]


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """What may be done: QUEUED (with `limited` when only with the platform's opt-out flag) or DENIED, and why."""

    outcome: Outcome
    reason: Reason | None = None
    detail: str | None = None
    limited: bool = False
    facts: ConsentFacts = field(default_factory=ConsentFacts)


_ALLOWED = ConsentDecision(Outcome.QUEUED, facts=ConsentFacts(ad_user_data=True, ad_personalization=True))


def decide(signals: ConsentSignals, policy: Policy = "strict") -> ConsentDecision:
    """What the strict policy makes of the signals: only a positive one permits, everywhere.

    All three booleans true permit. One of them false or absent beside another: a purpose is missing. None of them:
    consent is missing. One that is neither true, false nor null: malformed, and malformed is never consent. A
    browser's global privacy control and a child flag stand against any permission.
    """
    assert policy == "strict"
    flags = signals.ad_flags
    if Flag.MALFORMED in flags or Flag.MALFORMED in {signals.gpc, signals.child}:
        return ConsentDecision(Outcome.DENIED, Reason.SIGNAL_MALFORMED, "MAP_MALFORMED")
    if signals.child is Flag.YES:
        return ConsentDecision(Outcome.DENIED, Reason.CONSENT_MISSING, "CHILD_NO_CONSENT")
    if flags == (Flag.ABSENT, Flag.ABSENT, Flag.ABSENT):
        return ConsentDecision(Outcome.DENIED, Reason.CONSENT_MISSING, "NO_SIGNAL")
    if flags != (Flag.YES, Flag.YES, Flag.YES):
        detail = "MAP_DENIED" if Flag.NO in flags else "MAP_KEY_MISSING"
        return ConsentDecision(Outcome.DENIED, Reason.CONSENT_PURPOSE_MISSING, detail)
    if signals.gpc is Flag.YES:
        return ConsentDecision(Outcome.DENIED, Reason.GPC_OPT_OUT, "GPC")
    return _ALLOWED
