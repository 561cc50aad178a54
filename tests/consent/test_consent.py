"""Reading the consent object of an event, and the strict policy about its three booleans."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from app.consent.codes import Code, Malformed, reason_of
from app.consent.consent_mode import ConsentMode, State, decode_states
from app.consent.flags import Flag
from app.consent.jurisdiction import Regime
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.policy import ConsentDecision, decide
from app.consent.signals import NO_SIGNALS, SIGNAL_NAMES, ConsentSignals, read_signals, states_of
from app.errors import REASONS, Outcome, Reason
from app.wire import Consent

NOW = datetime(2026, 11, 20, tzinfo=UTC)
STATES = ("ad_storage", "ad_user_data", "ad_personalization")
NO_BOOLEANS: tuple[Any, ...] = (
    1,
    0,
    1.0,
    "true",
    "True",
    "yes",
    "1",
    "",
    "granted",
    "0",
    [],
    [True],
    {},
    {"a": True},
    -1,
)


def strict(signals: ConsentSignals) -> ConsentDecision:
    """What the strict policy says of these signals, whatever the place."""
    return decide(signals, ConsentNeeds(), ConsentOptions(), (Regime.UNKNOWN, None), NOW)


def read(**consent: Any) -> ConsentSignals:
    """The signals in a consent object."""
    return read_signals(Consent.model_validate(consent))[0]


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(
    ("sent", "flag"), [(True, Flag.YES), (False, Flag.NO), *((value, Flag.MALFORMED) for value in NO_BOOLEANS)]
)
def test_only_true_is_a_yes(name: str, sent: Any, flag: Flag) -> None:
    signals, warnings = read_signals(Consent.model_validate({name: sent}))
    if flag is Flag.MALFORMED:
        assert signals == ConsentSignals(consent_mode=Malformed(Code.CM_MALFORMED))
        assert [(warning.code, warning.pointer) for warning in warnings] == [("consent_malformed", f"/consent/{name}")]
    else:
        said = {each: State(flag if each == name else Flag.ABSENT) for each in STATES}
        assert signals.consent_mode == ConsentMode(said[STATES[0]], said[STATES[1]], said[STATES[2]])
        assert warnings == ()


@pytest.mark.parametrize(
    ("sent", "flag"),
    [
        *((value, Flag.YES) for value in (True, 1, "1", " 1", "true")),
        *((value, Flag.NO) for value in (False, 0, "0", "false")),
        *((value, Flag.MALFORMED) for value in NO_BOOLEANS if value not in (1, 0, "1", "0", "true")),
    ],
)
def test_the_browser_s_control_is_read_as_browsers_and_headers_write_it(sent: Any, flag: Flag) -> None:
    signals, warnings = read_signals(Consent(gpc=sent))
    assert signals == ConsentSignals(gpc=flag)
    assert [warning.pointer for warning in warnings] == ["/consent/gpc"] * (flag is Flag.MALFORMED)


@pytest.mark.parametrize(
    ("sent", "flag"), [(True, Flag.YES), (False, Flag.NO), *((value, Flag.MALFORMED) for value in NO_BOOLEANS)]
)
def test_a_child_is_said_with_a_boolean(sent: Any, flag: Flag) -> None:
    assert read(child=sent) == ConsentSignals(child=flag)


def test_nothing_sent_is_no_signal() -> None:
    assert read_signals(Consent()) == (NO_SIGNALS, ())
    assert read_signals(Consent.model_validate(dict.fromkeys(Consent.model_fields))) == (NO_SIGNALS, ())
    assert read(tcf="", gpp=" ") == NO_SIGNALS
    assert strict(NO_SIGNALS).detail is Code.NO_SIGNAL


UNREADABLE: dict[str, tuple[Any, Code]] = {
    "purposes": ("ads", Code.MAP_MALFORMED),
    "gcs": ("G2", Code.CM_MALFORMED),
    "gcd": (7, Code.CM_MALFORMED),
    "tcf": (["CQ"], Code.TCF_BAD_ALPHABET),
    "ac": ("3~1", Code.AC_MALFORMED),
    "gpp": (True, Code.GPP_BAD_ALPHABET),
    "us_privacy": (1, Code.USP_MALFORMED),
    "onetrust_groups": (4, Code.OT_MALFORMED),
    "shopify": ({}, Code.SHOPIFY_MALFORMED),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_told_permits_nothing_and_vetoes_a_consent(name: str) -> None:
    sent, kind = UNREADABLE[name]
    signals, warnings = read_signals(Consent.model_validate({name: sent}))
    assert getattr(signals, name) == Malformed(kind)
    (warning,) = warnings
    assert (warning.code, warning.pointer) == ("consent_malformed", f"/consent/{name}")
    assert str(kind) in warning.detail
    for beside in ({}, dict.fromkeys(STATES, True)):
        decision = strict(read(**{name: sent, **beside}))
        assert (decision.outcome, decision.reason) == (Outcome.DENIED, Reason.SIGNAL_MALFORMED)
        assert decision.detail is kind


def test_no_warning_holds_what_was_sent() -> None:
    sent = dict.fromkeys((*UNREADABLE, *STATES, "gpc", "child"), "zq7x")
    _, warnings = read_signals(Consent.model_validate(sent), Malformed(Code.COLLECTED_AT_MALFORMED))
    assert {warning.pointer for warning in warnings} == {
        *(f"/consent/{name}" for name in sent),
        "/consent/collected_at",
    } - {"/consent/onetrust_groups"}  # one group that is on has this shape
    assert "zq7x" not in repr(warnings)


def test_the_state_of_every_signal_is_known_to_metrics_and_proof() -> None:
    good = {
        "purposes": {"ads": True},
        "gcs": "G111",
        "gcd": "13r3r3r3r5l1",
        "tcf": "CQsIOsAQsIOsAEsAHBENAsFgAPLAAELAAAYgF5wAQF5gXnABAXmAAAAA.IF5wAQF5gAAA",
        "ac": "2~89~dv.",
        "gpp": "DBABLA~CVQqAAAAAACA",
        "us_privacy": "1YNN",
        "onetrust_groups": "C0004:1",
        "shopify": {"marketingAllowed": True},
        "gpc": False,
        **dict.fromkeys(STATES, True),
    }
    assert states_of(read(**good)) == dict.fromkeys(SIGNAL_NAMES, "valid")
    bad = {name: sent for name, (sent, _) in UNREADABLE.items()}
    assert states_of(read(**bad, gpc="x", ad_storage="x")) == {
        **{name: kind for name, (_, kind) in UNREADABLE.items()},
        "consent_mode": "CM_MALFORMED",
        "gpc": "GPC_MALFORMED",
    }
    assert states_of(NO_SIGNALS) == {}


VALUES: dict[Flag, Any] = {Flag.YES: True, Flag.NO: False, Flag.ABSENT: None, Flag.MALFORMED: "yes"}


def expected(flags: tuple[Flag, ...], gpc: Flag, child: Flag) -> tuple[Reason | None, str]:
    """The strict policy in the words of the design."""
    if child is Flag.YES:
        return Reason.CONSENT_MISSING, "CHILD_NO_CONSENT"
    if Flag.NO in flags and Flag.MALFORMED not in flags:
        return Reason.CONSENT_PURPOSE_MISSING, "CM_DENIED"
    if Flag.MALFORMED in (*flags, gpc, child):
        kinds = {"CM": Flag.MALFORMED in flags, "GPC": gpc is Flag.MALFORMED, "CHILD": child is Flag.MALFORMED}
        return Reason.SIGNAL_MALFORMED, next(f"{name}_MALFORMED" for name, is_it in kinds.items() if is_it)
    if set(flags) == {Flag.ABSENT}:
        return Reason.CONSENT_MISSING, "NO_SIGNAL"
    if Flag.ABSENT in flags:
        return Reason.CONSENT_PURPOSE_MISSING, "CM_UNSET"
    if gpc is Flag.YES:
        return Reason.GPC_OPT_OUT, "GPC"
    return None, "CM_GRANTED"


@pytest.mark.parametrize("flags", list(itertools.product(Flag, repeat=3)), ids="-".join)
def test_the_strict_policy(flags: tuple[Flag, Flag, Flag]) -> None:
    states = dict(zip(STATES, (VALUES[each] for each in flags), strict=True))
    for gpc, child in itertools.product(Flag, repeat=2):
        decision = strict(read(**states, gpc=VALUES[gpc], child=VALUES[child]))
        assert (decision.reason, decision.detail) == expected(flags, gpc, child)
        assert decision.outcome is (Outcome.QUEUED if decision.reason is None else Outcome.DENIED)
        assert decision.reason is None or decision.reason in REASONS[Outcome.DENIED]
        assert not decision.limited


def test_nothing_but_three_times_yes_permits() -> None:
    permitted = [
        flags
        for flags in itertools.product(Flag, repeat=3)
        if strict(ConsentSignals(consent_mode=decode_states(*(VALUES[each] for each in flags)))).outcome
        is Outcome.QUEUED
    ]
    assert permitted == [(Flag.YES, Flag.YES, Flag.YES)]


MAPPED = {
    Reason.CONSENT_MISSING: {"NO_SIGNAL", "WRONG_REGIME_SIGNAL", "REGIME_DEFAULT", "CHILD_NO_CONSENT"},
    Reason.CONSENT_VENDOR_MISSING: {
        *("TCF_VENDOR_DENIED", "TCF_VENDOR_NOT_DISCLOSED", "TCF_PUBLISHER_RESTRICTION", "TCF_NO_VENDOR_BASIS"),
        *("AC_DENIED", "AC_ABSENT"),
    },
    Reason.CONSENT_WITHDRAWN: {"CONSENT_WITHDRAWN", "SUBJECT_ERASED"},
    Reason.GPC_OPT_OUT: {"GPC", "US_GPC_OPT_OUT"},
    Reason.US_OPT_OUT: {
        *("US_OPTED_OUT", "US_NO_NOTICE", "US_NOT_APPLICABLE", "US_SERVICE_PROVIDER_MODE", "US_NO_SIGNAL"),
        "LIMITED_UNSUPPORTED",
    },
    Reason.CONSENT_PURPOSE_MISSING: {
        *("MAP_DENIED", "MAP_KEY_MISSING", "CM_GRANTED_NO_PERSONALIZATION", "CM_DENIED", "CM_DEFAULT_ONLY", "CM_UNSET"),
        *("OT_DENIED", "OT_NO_INTERACTION", "SHOPIFY_DENIED", "TCF_PURPOSE_DENIED", "TCF_GRANTED_NO_PERSONALIZATION"),
        "TCFCA_DENIED",
    },
    Reason.SIGNALS_CONTRADICT: {"SIGNALS_CONTRADICT"},
    None: {
        *("MAP_GRANTED", "CM_GRANTED", "TCF_GRANTED", "AC_GRANTED", "OT_GRANTED", "SHOPIFY_GRANTED", "TCFCA_GRANTED"),
        *("GRANTED_GPC_PRESENT", "US_NOT_OPTED_OUT", "JURISDICTION_UNKNOWN"),
    },
}


def test_every_code_has_its_reason() -> None:
    mapped = {code: reason for reason, codes in MAPPED.items() for code in codes}
    assert set(mapped) <= set(Code)
    assert {str(code): reason_of(code) for code in Code} == {
        str(code): mapped.get(code, Reason.SIGNAL_MALFORMED) for code in Code
    }
    left = set(Code) - set(mapped)
    assert all(
        code.startswith(("TCF_", "GPP_", "USP_")) or "MALFORMED" in code or code == "SIGNAL_STALE" for code in left
    )
