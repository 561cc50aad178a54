"""The parts of a dashboard: panels, boards, and the queries that many panels share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

R = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: queries by their legend, a Grafana unit, and the line above which something is wrong, if any."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    limit: float | None = None
    kind: str = "timeseries"
    is_stacked: bool = False
    width: int = 12
    height: int = 8


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    name: str
    title: str
    description: str
    panels: tuple[Panel, ...]

    def uses(self, variable: str) -> bool:
        """Whether any of its queries has this variable."""
        return any(variable in query for panel in self.panels for query in panel.queries.values())


def stat(title: str, description: str, unit: str, query: str, limit: float | None = None, legend: str = "") -> Panel:
    """One number."""
    return Panel(title, description, unit, {legend: query}, limit, "stat", width=6, height=4)


def share(part: str, whole: str) -> str:
    """A ratio that is absent, not infinite, where nothing happens."""
    return f"{part} / ({whole} > 0)"


def quantile(q: float, bucket: str, by: str = "") -> str:
    """A quantile of a histogram's rate."""
    return f"histogram_quantile({q}, sum by (le{by and ', ' + by}) (rate({bucket}[{R}])))"
