"""Consent: signals as sent, and what the strict policy makes of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from app.consent.policy import decide
from app.consent.signals import NO_SIGNALS, ConsentSignals, Flag, read_signals
from app.errors import REASONS, Outcome, Reason
from app.wire import Consent

NAMES = ("ad_storage", "ad_user_data", "ad_personalization")
UNREAD = ("purposes", "tcf", "ac", "gpp", "us_privacy", "onetrust_groups", "shopify")


@pytest.mark.parametrize("name", [*NAMES, "gpc", "child"])
@pytest.mark.parametrize(
    ("sent", "flag"),
    [
        (True, Flag.YES),
        (False, Flag.NO),
        (None, Flag.ABSENT),
        *(
            (value, Flag.MALFORMED)
            for value in (1, 0, 1.0, "true", "True", "yes", "1", "", "granted", "0", [], [True], {}, {"a": True}, -1)
        ),
    ],
)
def test_only_true_is_a_yes(name: str, sent: Any, flag: Flag) -> None:
    signals, warnings = read_signals(Consent.model_validate({name: sent}))
    assert getattr(signals, name) is flag
    assert {getattr(signals, other) for other in (*NAMES, "gpc", "child") if other != name} == {Flag.ABSENT}
    told = [("consent_malformed", f"/consent/{name}")] if flag is Flag.MALFORMED else []
    assert [(warning.code, warning.pointer) for warning in warnings] == told


def test_nothing_sent_is_no_signal() -> None:
    assert read_signals(Consent()) == (NO_SIGNALS, ())


@pytest.mark.parametrize("name", UNREAD)
def test_a_signal_that_is_not_read_is_told_and_grants_nothing(name: str) -> None:
    signals, warnings = read_signals(Consent.model_validate({name: True}))
    assert signals == NO_SIGNALS
    (warning,) = warnings
    assert (warning.code, warning.pointer) == ("consent_signal_not_read", f"/consent/{name}")


def test_every_unread_signal_is_told() -> None:
    sent = dict.fromkeys(UNREAD, "zq7x") | {"jurisdiction": "US-CA", "collected_at": "2026-11-20T00:00:00Z"}
    _, warnings = read_signals(Consent.model_validate(sent))
    assert [warning.pointer for warning in warnings] == [f"/consent/{name}" for name in UNREAD]
    assert "zq7x" not in repr(warnings)
    assert read_signals(Consent.model_validate(dict.fromkeys(UNREAD)))[1] == ()


def expected(flags: tuple[Flag, ...], gpc: Flag, child: Flag) -> tuple[Reason | None, str | None]:
    """The strict policy in the words of the design."""
    if Flag.MALFORMED in (*flags, gpc, child):
        return Reason.SIGNAL_MALFORMED, "MAP_MALFORMED"
    if child is Flag.YES:
        return Reason.CONSENT_MISSING, "CHILD_NO_CONSENT"
    if set(flags) == {Flag.ABSENT}:
        return Reason.CONSENT_MISSING, "NO_SIGNAL"
    if Flag.NO in flags:
        return Reason.CONSENT_PURPOSE_MISSING, "MAP_DENIED"
    if Flag.ABSENT in flags:
        return Reason.CONSENT_PURPOSE_MISSING, "MAP_KEY_MISSING"
    if gpc is Flag.YES:
        return Reason.GPC_OPT_OUT, "GPC"
    return None, None


@pytest.mark.parametrize("flags", list(itertools.product(Flag, repeat=3)), ids="-".join)
def test_the_strict_policy(flags: tuple[Flag, Flag, Flag]) -> None:
    for gpc, child in itertools.product(Flag, repeat=2):
        decision = decide(ConsentSignals(*flags, gpc, child), "strict")
        reason, detail = expected(flags, gpc, child)
        assert (decision.reason, decision.detail) == (reason, detail)
        assert decision.outcome is (Outcome.QUEUED if reason is None else Outcome.DENIED)
        assert reason is None or reason in REASONS[Outcome.DENIED]
        assert not decision.limited


def test_nothing_but_three_times_yes_permits() -> None:
    permitted = [
        combination
        for combination in itertools.product(Flag, repeat=5)
        if decide(ConsentSignals(*combination)).outcome is Outcome.QUEUED
    ]
    yes = (Flag.YES, Flag.YES, Flag.YES)
    silent = (Flag.NO, Flag.ABSENT)
    assert sorted(permitted) == sorted((*yes, gpc, child) for gpc, child in itertools.product(silent, repeat=2))


def test_no_signal_is_no_permission() -> None:
    assert decide(NO_SIGNALS).outcome is Outcome.DENIED


def test_a_policy_nobody_wrote_is_not_taken_for_strict() -> None:
    with pytest.raises(AssertionError):
        decide(NO_SIGNALS, "regional")  # type: ignore[arg-type]
