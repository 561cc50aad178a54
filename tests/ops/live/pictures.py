"""`make pictures`: the dashboards as a reader of them would see them, drawn for the docs.

Prometheus scrapes a gateway under load while platforms fail one after the other; then every panel's query is asked from
its API, as Grafana would, and plotted. What Grafana itself draws of the same JSON was not seen here.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter, FuncFormatter
from PIL import Image
from rich.progress import track

from tests.e2e.harness import META, PINTEREST, SNAPCHAT, TIKTOK
from tests.ops import tools
from tests.ops.live.prometheus import Prometheus
from tests.ops.live.stage import Stage, stage

FOLDER = tools.ROOT / "docs" / "pictures"
LASTS_S = 200
STEP_S = 2

SCRIPT: dict[int, tuple[str, dict[str, Any] | None]] = {
    40: (PINTEREST, {"kind": "500", "times": None}),
    60: (TIKTOK, {"kind": "slow", "times": None, "delay_s": 1.2}),
    80: (META, {"kind": "dead_token"}),
    110: (PINTEREST, None),
    120: (SNAPCHAT, {"kind": "429", "times": 6, "retry_after_s": 3}),
    130: (META, None),
    150: (TIKTOK, None),
}
"""From which second on a platform fails, and how; None mends it."""


def play(stand: Stage) -> None:
    """Load with a little of everything in it."""
    gateway = stand.gateway("convey", store={"max_bytes": "16MiB"})
    gateway.start()
    began = time.monotonic()

    def orders() -> list[dict[str, Any]]:
        second = time.monotonic() - began
        order = stand.order
        events = [order() for _ in range(6)]
        if second > 70:  # a release that drops the consent of some pages
            events += [order(consent=None) for _ in range(2)]
        if int(second) % 7 == 0:
            consent = {"ad_storage": True, "ad_user_data": False, "ad_personalization": True}
            events += [order(consent=consent), order(event_time=None), order(event_id="one-for-all"), events[0]]
            events += [order(transaction_id=f"POISON-SNAPCHAT-{time.time_ns()}")]
            events += [order(event_time=time.time() - 3 * 86_400)]
        return events

    stand.every(0.15, gateway, orders)
    stand.every(0.5, gateway, lambda: [stand.order(custom_data={"currency": "EUR", "value": "5", "properties": {
        "note": "jane@example.com"}})] if int(time.monotonic() - began) % 20 == 0 else [])  # fmt: skip


def concrete(expression: str) -> str:
    """A panel's query as Grafana would send it with every variable at All."""
    return re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", "10s"))


def draw(board: dict[str, Any], prometheus: Prometheus, began: float, ended: float) -> Path:
    """One board as a PNG."""
    panels = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    stats = [panel for panel in board["panels"] if panel["type"] == "stat"]
    rows = math.ceil(len(panels) / 2)
    figure = plt.figure(figsize=(13, 1.3 + 2.9 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, 4, height_ratios=[0.42, *([1] * rows)])
    for position, panel in enumerate(stats):
        _draw_number(figure.add_subplot(grid[0, position]), panel, prometheus, ended)
    for position, panel in enumerate(panels):
        column = 2 * (position % 2)
        axes = figure.add_subplot(grid[1 + position // 2, column : column + 2])
        _draw_lines(axes, panel, prometheus, began, ended)
    figure.suptitle(board["title"], x=0.01, ha="left", fontsize=13, fontweight="bold")
    path = FOLDER / f"{board['uid'].removeprefix('convey-')}.png"
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)
    return path


def _draw_number(axes: Any, panel: dict[str, Any], prometheus: Prometheus, ended: float) -> None:
    (target,) = panel["targets"]
    found = prometheus.ask("query", query=concrete(target["expr"]), time=ended)["result"]
    value = float(found[0]["value"][1]) if found else math.nan
    shown = "no data" if math.isnan(value) else _formatter(panel)(value, None)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    is_bad = any(step["value"] is not None and value >= step["value"] for step in steps)
    axes.axis("off")
    axes.text(0.5, 0.95, panel["title"], ha="center", va="top", fontsize=9)
    axes.text(0.5, 0.25, shown, ha="center", va="center", fontsize=17, color="tab:red" if is_bad else "tab:green")


def _draw_lines(axes: Any, panel: dict[str, Any], prometheus: Prometheus, began: float, ended: float) -> None:
    lines = []
    for target in panel["targets"]:
        query = concrete(target["expr"])
        data = prometheus.ask("query_range", query=query, start=began, end=ended, step=STEP_S)
        for series in data["result"]:
            legend = re.sub(r"\{\{(\w+)\}\}", lambda found: series["metric"].get(found[1], ""), target["legendFormat"])  # noqa: B023
            points = [(float(at) - began, float(value)) for at, value in series["values"]]
            lines.append((legend, [point for point in points if math.isfinite(point[1])]))
    for legend, points in sorted(lines):
        if points:
            axes.plot(*zip(*_with_gaps(points), strict=True), label=legend, linewidth=1.2)
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        highest = max((value for _, points in lines for _, value in points), default=0)
        if step["value"] is not None and highest > step["value"] / 20:
            axes.axhline(step["value"], color="tab:red", linestyle="--", linewidth=0.8)
    axes.set_title(panel["title"], loc="left", fontsize=9)
    axes.yaxis.set_major_formatter(FuncFormatter(_formatter(panel)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{second:.0f} s"))
    axes.set_xlim(0, ended - began)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if any(points for _, points in lines):
        axes.legend(fontsize=6, loc="best", ncols=2, framealpha=0.6)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes, color="gray")


def _with_gaps(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, and nothing where there are none: a line must not be drawn over a gap."""
    spaced = [points[0]]
    for point in points[1:]:
        if point[0] - spaced[-1][0] > 1.5 * STEP_S:
            spaced.append((point[0] - STEP_S, math.nan))
        spaced.append(point)
    return spaced


def _formatter(panel: dict[str, Any]) -> Any:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit == "percentunit":
        return lambda value, _: f"{value:.2%}" if value < 0.01 else f"{value:.0%}"
    suffix = {"s": "s", "bytes": "B", "reqps": "/s", "ops": "/s"}.get(unit, "")
    if unit == "short":
        return lambda value, _: f"{value:,.0f}" if value == round(value) or value > 10 else f"{value:.1f}"
    return EngFormatter(unit=suffix, places=1)


def run() -> int:
    """Play, scrape, draw; the exit code."""
    rules = [file.read_text("utf-8") for file in sorted(tools.RULES.glob("*.yaml"))]
    with tempfile.TemporaryDirectory(prefix="convey-pictures-") as folder, stage(Path(folder)) as stand:
        play(stand)
        prometheus = Prometheus({"convey": list(stand.ports.values())}, rules)
        try:
            prometheus.start()
            began = time.time()
            for second in track(range(LASTS_S), "playing", transient=True):
                if second in SCRIPT:
                    platform, fault = SCRIPT[second]
                    stand.sandbox.script(platform, *([fault] if fault else []))
                time.sleep(1)
            for file in sorted(tools.DASHBOARDS.glob("*.json")):
                path = draw(json.loads(file.read_text("utf-8")), prometheus, began, time.time())
                print(f"{path.relative_to(tools.ROOT)}: {path.stat().st_size // 1024} KiB")  # noqa: T201
        finally:
            prometheus.close()
    return 0


if __name__ == "__main__":
    sys.exit(run())
