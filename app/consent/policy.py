"""From signals to a decision for one destination. Pure.

First come a child without consent and whatever cannot be read; then what the signals say, under the regime of the
place. Where consent is needed, one signal must say yes and none no. Where people opt out, nobody may have. In doubt the
stricter answer holds, and an unknown place is treated as one where consent is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from app.consent.codes import Code, reason_of
from app.consent.consent_mode import ConsentMode
from app.consent.jurisdiction import Place, Regime
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.opinions import Circumstances, Opinion, Stance, UsSignals, opinions, us_signals
from app.consent.signals import ConsentSignals
from app.errors import Outcome, Reason
from app.model import ConsentFacts


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """What may be done: QUEUED (with `limited` when only with the platform's opt-out flag) or DENIED, and why.

    `detail` is the code that decided, for a queued event too. `facts` are the states a platform that asks is told.
    """

    outcome: Outcome
    reason: Reason | None = None
    detail: Code | None = None
    limited: bool = False
    facts: ConsentFacts = field(default_factory=ConsentFacts)


def decide(
    signals: ConsentSignals,
    needs: ConsentNeeds,
    options: ConsentOptions,
    where: tuple[Regime, Place | None],
    now: datetime,
) -> ConsentDecision:
    """What the signals of an event allow at a destination with these needs, at `now`, in the regime of `where`."""
    is_strict = (needs.policy or options.policy) == "strict"
    under = Circumstances(options, *where, now, is_strict)
    us = us_signals(signals)
    if us.is_child:
        return _denied(Code.CHILD_NO_CONSENT)
    said = opinions(signals, needs, under)
    if not is_strict and under.regime is Regime.OPT_OUT:
        decision = _where_people_opt_out(said, us, options)
    else:
        decision = _where_consent_is_needed(said, us, under, signals)
    if decision.limited and not needs.uses_limited and decision.detail is not None:
        return _denied(decision.detail)
    return decision


def _where_consent_is_needed(
    said: list[Opinion], us: UsSignals, under: Circumstances, signals: ConsentSignals
) -> ConsentDecision:
    by_stance: dict[Stance, list[Code]] = {}
    for each in said:
        by_stance.setdefault(each.stance, []).append(each.code)
    limited = by_stance.get(Stance.LIMITED, [])
    granted = [*limited, *by_stance.get(Stance.GRANT, [])]
    refused = by_stance.get(Stance.DENY, [])
    invalid = [*by_stance.get(Stance.INVALID, []), *us.malformed]
    if refused and not granted:
        return _denied(refused[0])
    if refused or (granted and us.code is Code.US_OPTED_OUT):
        return _denied(Code.SIGNALS_CONTRADICT)
    if invalid and (under.options.on_invalid == "veto" or not granted):
        return _denied(invalid[0])
    if not granted:
        return _without_a_word(by_stance.get(Stance.SILENT, []), us, under)
    if us.has_gpc and _honours_gpc(under):
        return _denied(Code.GPC)
    code = Code.GRANTED_GPC_PRESENT if us.has_gpc and not limited else granted[0]
    return _allowed(code, is_limited=bool(limited), is_asked=not _is_storage_only(signals, granted))


def _without_a_word(silent: list[Code], us: UsSignals, under: Circumstances) -> ConsentDecision:
    """No signal says yes or no."""
    if under.regime is Regime.NOTICE and not under.is_strict:
        if us.has_gpc or us.code is Code.US_OPTED_OUT:
            return _denied(Code.GPC if us.has_gpc else Code.US_OPTED_OUT)
        if under.options.notice_default == "forward":
            return ConsentDecision(Outcome.QUEUED, None, Code.REGIME_DEFAULT)
        return _denied(silent[0] if silent else Code.REGIME_DEFAULT)
    if silent:
        return _denied(silent[0])
    return _denied(Code.NO_SIGNAL if us.code is None else Code.WRONG_REGIME_SIGNAL)


def _honours_gpc(under: Circumstances) -> bool:
    """Whether the browser's control outweighs a consent where the law asks for one."""
    choice = under.options.gpc_in_opt_in
    return choice == "deny" or (choice is None and (under.is_strict or under.regime is Regime.NOTICE))


def _is_storage_only(signals: ConsentSignals, granted: list[Code]) -> bool:
    """Whether nothing but `gcs` allowed it, which cannot speak of user data."""
    has_more = isinstance(signals.consent_mode, ConsentMode) or isinstance(signals.gcd, ConsentMode)
    return granted == [Code.CM_GRANTED] and not has_more


_REFUSED_OUTRIGHT = frozenset({Code.MAP_DENIED, Code.CM_DENIED})
"""The shop's own words for this very use: they deny even where others would only limit."""


def _where_people_opt_out(said: list[Opinion], us: UsSignals, options: ConsentOptions) -> ConsentDecision:
    refused = [each.code for each in said if each.stance is Stance.DENY]
    outright = [code for code in refused if code in _REFUSED_OUTRIGHT]
    if outright:
        return _denied(outright[0])
    invalid = [*us.malformed, *(each.code for each in said if each.stance is Stance.INVALID)]
    restrictive = [] if us.code in {None, Code.US_NOT_OPTED_OUT} else [us.code]
    opted_out = [
        *([Code.US_GPC_OPT_OUT] if us.has_gpc else []),
        *(code for code in restrictive if code is Code.US_OPTED_OUT),
        *invalid,
        *refused,
        *restrictive,
        *(each.code for each in said if each.stance is Stance.LIMITED),
    ]
    granted = [each.code for each in said if each.stance is Stance.GRANT]
    if opted_out:
        is_asked = bool(granted) or opted_out[0] is Code.CM_GRANTED_NO_PERSONALIZATION
        return _limited(opted_out[0], options.opt_out_action, is_asked=is_asked)
    if us.code is Code.US_NOT_OPTED_OUT or granted:
        return _allowed(us.code or granted[0], is_limited=False, is_asked=bool(granted))
    if options.opt_out_default == "forward":
        return ConsentDecision(Outcome.QUEUED, None, Code.US_NO_SIGNAL)
    return _limited(Code.US_NO_SIGNAL, options.opt_out_default, is_asked=False)


def _limited(code: Code, action: str, *, is_asked: bool) -> ConsentDecision:
    return _denied(code) if action == "deny" else _allowed(code, is_limited=True, is_asked=is_asked)


@lru_cache(maxsize=256)
def _allowed(code: Code, *, is_limited: bool, is_asked: bool) -> ConsentDecision:
    """`is_asked`: the shopper said yes, rather than just not no. Only then is a platform told of a consent."""
    facts = ConsentFacts(True if is_asked else None, False if is_limited else is_asked or None)
    return ConsentDecision(Outcome.QUEUED, None, code, is_limited, facts)


@lru_cache(maxsize=256)
def _denied(code: Code) -> ConsentDecision:
    return ConsentDecision(Outcome.DENIED, reason_of(code), code)
