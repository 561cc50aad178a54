"""Makes the Grafana dashboards of the chart from the boards described in `scripts.boards`.

Classic JSON, which every Grafana imports: no ids, a fixed uid, the data source and the targets as variables.
"""

from __future__ import annotations

import json
from typing import Any

from scripts.boards import BOARDS
from scripts.panels import Board, Panel

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOKS = "docs/runbooks"
WIDTH = 24


def pages() -> dict[str, str]:
    """Each dashboard's file, as a path from the repository's root, and its text."""
    return {f"helm/convey/files/dashboards/{board.name}.json": render(board) for board in BOARDS}


def render(board: Board) -> str:
    """One dashboard as the JSON that ships."""
    dashboard = {
        "id": None,
        "uid": f"convey-{board.name}",
        "title": f"Convey / {board.title}",
        "description": board.description,
        "tags": ["convey"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [
            {"type": "dashboards", "title": "Convey", "tags": ["convey"], "asDropdown": True, "keepTime": True,
             "includeVars": True, "targetBlank": False, "icon": "external link", "url": "", "tooltip": ""},
        ],
        "annotations": {"list": [_alerts()]},
        "templating": {"list": _variables(board)},
        "panels": _panels(board),
    }  # fmt: skip
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def _alerts() -> dict[str, Any]:
    """Firing alerts as marks on every panel."""
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Convey.+",alertstate="firing",namespace=~"$namespace|"}',
        "titleFormat": "{{alertname}}",
        "textFormat": f"{{{{destination}}}}{{{{source}}}}: {RUNBOOKS}/{{{{alertname}}}}.md",
        "step": "60s",
    }


def _variables(board: Board) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1,
         "hide": 0, "current": {}, "options": [], "regex": "", "multi": False, "includeAll": False},
        _query("namespace", "Namespace", "label_values(convey_build_info, namespace)"),
        _query("job", "Job", 'label_values(convey_build_info{namespace=~"$namespace"}, job)'),
    ]  # fmt: skip
    within = '{namespace=~"$namespace",job=~"$job"}'
    if board.uses("$destination"):
        own.append(
            _query("destination", "Destination", f"label_values(convey_config_info{within}, destination)", many=True)
        )
    if board.uses("$source"):
        own.append(_query("source", "Source", f"label_values(convey_events_total{within}, source)", many=True))
    return own


def _query(name: str, label: str, query: str, *, many: bool = False) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": many,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": "All", "value": "$__all"},
        "options": [],
        "regex": "",
    }


def _panels(board: Board) -> list[dict[str, Any]]:
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(board.panels, 1):
        if x + panel.width > WIDTH:
            x, y, height = 0, y + height, 0
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, height = x + panel.width, max(height, panel.height)
    return placed


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            {
                "refId": chr(ord("A") + position),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "range": True,
                "exemplar": "_bucket" in expression,
            }
            for position, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "stat" and panel.unit == "short":
        defaults["decimals"] = 0  # increases are extrapolated: there is no half a conflict
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.is_stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.limit is None else "dashed"},
        }
    return defaults


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
    },
}
