"""Rules and alerts: promtool accepts them, each alert is tested, names what exists, and has its page."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.ops import promql, tools

FILES = sorted(tools.RULES.glob("*.yaml"))
TESTS = sorted((tools.RULES / "tests").glob("*.yaml"))
RULES: list[dict[str, Any]] = [
    rule for file in FILES for group in yaml.safe_load(file.read_text("utf-8"))["groups"] for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
ALERTS = [rule for rule in RULES if "alert" in rule]
BOARDS = {"convey-edge", "convey-lanes", "convey-consent", "convey-dedup", "convey-saturation"}


def test_promtool_accepts_the_rules() -> None:
    checked = tools.run("promtool", "check", "rules", *FILES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Any) -> None:
    tested = tools.run("promtool", "test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_silent_firing_and_on_nothing() -> None:
    silent, fires, on_nothing = set(), set(), set()
    for file in TESTS:
        for case in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for check in case["alert_rule_test"]:
                if not case["input_series"]:
                    on_nothing.add(check["alertname"])
                elif "exp_alerts" not in check:
                    silent.add(check["alertname"])
                for expected in check.get("exp_alerts", ()):
                    assert {"summary", "description"} <= expected["exp_annotations"].keys()
                    fires.add((check["alertname"], frozenset(expected["exp_labels"].items())))
    names = {rule["alert"] for rule in ALERTS}
    assert silent == names
    assert on_nothing == names
    for rule in ALERTS:
        own = rule["labels"].items()
        assert any(name == rule["alert"] and own <= labels for name, labels in fires), (rule["alert"], own)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_a_rule_names_only_what_exists(rule: dict[str, Any]) -> None:
    assert promql.faults(rule["expr"], RECORDED) == []
    if "record" in rule:
        assert re.fullmatch(r"convey:[a-z_]+:[a-z_0-9]+", rule["record"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Convey[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert annotations["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    assert annotations["dashboard_url"].removeprefix("d/") in BOARDS
    assert not annotations["summary"].endswith(".")
    assert annotations["description"].endswith(".")


def test_the_objectives_are_edges_of_buckets() -> None:
    from app.metrics import HTTP_BUCKETS, LATENCY_BUCKETS

    edges = {float(edge) for rule in RULES for edge in re.findall(r'le="([\d.]+)"', rule["expr"])}
    assert edges == {0.25, 300.0}
    assert 0.25 in HTTP_BUCKETS
    assert 300 in LATENCY_BUCKETS


def test_what_is_shared_is_never_summed_over_processes() -> None:
    for rule in RULES:
        assert not re.search(r"\bsum\b(?! without \(state\))[^(]*\([^)]*convey_(ledger|outbox|lane)_", rule["expr"])
