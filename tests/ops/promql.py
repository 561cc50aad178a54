"""Enough of PromQL to hold expressions against the list of metrics: which series they name, with which labels."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prometheus_client import Histogram

from app.metrics import SPECS

SERIES = re.compile(r"(?<![:\w])(convey_[a-z_]+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
TARGET_LABELS = frozenset({"namespace", "job", "pod", "instance"})
"""What the scrape adds to every series."""


def known() -> dict[str, frozenset[str]]:
    """Every series the gateway exposes, with its own labels."""
    series: dict[str, frozenset[str]] = {}
    for spec in SPECS:
        labels = frozenset(spec.labels)
        if spec.kind is Histogram:
            series |= {f"{spec.name}_bucket": labels | {"le"}}
            series |= {f"{spec.name}_{part}": labels for part in ("count", "sum")}
        else:
            series[spec.name] = labels
    return series


def faults(expression: str, recorded: Iterable[str]) -> list[str]:
    """What an expression names that is neither exposed nor recorded, and labels a series does not have."""
    series, found = known(), []
    for name, selector in SERIES.findall(expression):
        if name not in series:
            found.append(f"no metric {name}")
            continue
        unknown = set(LABEL.findall(re.sub(r'"[^"]*"', '""', selector))) - series[name] - TARGET_LABELS
        found += [f"{name} has no label {label}" for label in sorted(unknown)]
    found += [f"nothing records {name}" for name in re.findall(r"\bconvey:[\w:]+", expression) if name not in recorded]
    return found
