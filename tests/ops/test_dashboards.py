"""The dashboards that ship: Grafana's rules for JSON that imports everywhere, and queries that mean something."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops import promql, tools
from tests.ops.test_rules import BOARDS, RECORDED

FILES = sorted(tools.DASHBOARDS.glob("*.json"))
SCOPE = {"datasource", "namespace", "job"}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.param.read_text("utf-8"))
    return loaded


def queries(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def concrete(expression: str) -> str:
    """The query as Prometheus gets it."""
    return re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", "5m"))


def test_the_boards_are_those_the_alerts_point_to() -> None:
    assert {json.loads(file.read_text("utf-8"))["uid"] for file in FILES} == BOARDS


def test_it_imports_anywhere(board: dict[str, Any]) -> None:
    assert board["id"] is None
    assert board["uid"]
    assert board["schemaVersion"] >= 36
    assert board["editable"] is False
    assert board["graphTooltip"] == 1
    assert "convey" in board["tags"]
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables >= SCOPE
    for expression in queries(board):
        used = set(re.findall(r"\$(\w+)", expression)) - {"__rate_interval"}
        assert used <= variables, expression
        assert {"namespace", "job"} <= used, expression
        assert not re.search(r"\[\d+[sm]\]", expression) or "[30m]" in expression, expression
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps(board["panels"]))
    assert set(sources) == {"${datasource}"}


def test_every_panel_says_what_it_shows(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in board["panels"]]
    assert len(titles) == len(set(titles))
    for panel in board["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_no_panel_lies_on_another(board: dict[str, Any]) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own


def test_every_query_is_good_promql_about_metrics_that_exist(board: dict[str, Any], tmp_path: Path) -> None:
    for expression in queries(board):
        assert promql.faults(expression, RECORDED) == [], expression
    rules = [{"record": f"panel:{n}", "expr": concrete(text)} for n, text in enumerate(queries(board))]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = tools.run("promtool", "check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
