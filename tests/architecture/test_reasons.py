"""The closed lists of words: every reason belongs to an outcome, and only words of the lists are used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from app.errors import FINAL_OUTCOMES, INGEST_OUTCOMES, REASONS, Outcome, Reason
from app.metrics import LANE_STATES

APP = Path(__file__).parents[2] / "app"

DESIGNED = {
    "queued": "",
    "denied": "consent_missing consent_purpose_missing consent_vendor_missing consent_withdrawn gpc_opt_out "
    "us_opt_out signal_malformed signals_contradict",
    "skipped": "not_routed event_not_supported identifiers_missing too_old in_future required_field_missing "
    "test_mode_missing backlog_full",
    "delivered": "",
    "retrying": "rate_limited platform_error timeout network credentials",
    "dead": "rejected_by_platform attempts_exhausted outcome_unknown purchase_not_delivered body_unreadable",
    "expired": "platform_window_passed dedup_window_passed",
    "withdrawn": "consent_withdrawn cancelled",
    "erased": "erasure_request",
}


def test_the_lists_are_the_designed_ones() -> None:
    assert {outcome.value: [reason.value for reason in reasons] for outcome, reasons in REASONS.items()} == {
        outcome: reasons.split() for outcome, reasons in DESIGNED.items()
    }


def test_every_outcome_and_every_reason_has_its_place() -> None:
    assert set(REASONS) == set(Outcome)
    assert {reason for reasons in REASONS.values() for reason in reasons} == set(Reason)
    homes = {reason: [outcome for outcome in REASONS if reason in REASONS[outcome]] for reason in Reason}
    assert {reason for reason, outcomes in homes.items() if len(outcomes) > 1} == {Reason.CONSENT_WITHDRAWN}
    assert {*INGEST_OUTCOMES, *FINAL_OUTCOMES, Outcome.RETRYING} == set(Outcome)
    assert not set(INGEST_OUTCOMES) & set(FINAL_OUTCOMES)


@lru_cache
def parsed_modules() -> tuple[tuple[str, tuple[ast.Call, ...]], ...]:
    """Every call in every module of the gateway, the sandbox left out."""
    return tuple(
        (
            str(path.relative_to(APP)),
            tuple(node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)),
        )
        for path in sorted(APP.rglob("*.py"))
        if "sandbox" not in path.parts
    )


def pairs() -> Iterator[tuple[str, Outcome, Reason]]:
    """Where an outcome and a reason stand beside each other in one call."""
    for name, nodes in parsed_modules():
        for node in nodes:
            words = [
                (argument.value.id, argument.attr)
                for argument in (*node.args, *(keyword.value for keyword in node.keywords))
                if isinstance(argument, ast.Attribute) and isinstance(argument.value, ast.Name)
            ]
            outcomes = [Outcome[word] for kind, word in words if kind == "Outcome"]
            reasons = [Reason[word] for kind, word in words if kind == "Reason"]
            if len(outcomes) == 1 and len(reasons) == 1:
                yield f"{name}:{node.lineno}", outcomes[0], reasons[0]


def test_a_reason_stands_beside_an_outcome_it_belongs_to() -> None:
    found = list(pairs())
    assert len(found) > 5  # consent gives its reasons from a table of codes, which has a test of its own
    assert [place for place, outcome, reason in found if reason not in REASONS[outcome]] == []


def calls(function: str) -> Iterator[tuple[str, Reason]]:
    """The reasons that are given first to a constructor."""
    for name, nodes in parsed_modules():
        for node in nodes:
            if not (isinstance(node.func, ast.Name) and node.func.id == function):
                continue
            values = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "reason")]
            for value in values:
                if (
                    isinstance(value, ast.Attribute)
                    and isinstance(value.value, ast.Name)
                    and value.value.id == "Reason"
                ):
                    yield f"{name}:{node.lineno}", Reason[value.attr]


@pytest.mark.parametrize(
    ("function", "outcome"),
    [
        ("Skip", Outcome.SKIPPED),
        ("Retry", Outcome.RETRYING),
        ("NoReply", Outcome.RETRYING),
        ("Park", Outcome.RETRYING),
        ("Rejected", Outcome.DEAD),
    ],
)
def test_what_adapters_and_lanes_give_as_reason(function: str, outcome: Outcome) -> None:
    found = list(calls(function))
    assert found or function == "Rejected"
    assert [place for place, reason in found if reason not in REASONS[outcome]] == []


def test_lane_states_are_the_metrics_words() -> None:
    from dataclasses import replace

    from app.delivery.limits import start

    pace = start(10, 4)
    states = {pace.state, replace(pace, failures=3).state, replace(pace, is_parked=True).state}
    assert states == {"running", "open", "parked"}
    assert states <= set(LANE_STATES)
