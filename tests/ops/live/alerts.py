"""`make live-alerts`: each alert that can be provoked fires, in Prometheus, with the chart's rules, within minutes.

Nothing is mocked: the gateways run as they are, the sandbox fails as told, callers misbehave, and the rules are the
files of the chart. Only their time is shortened, by `SHORTENED`: windows of hours become tens of seconds, "for" a few
seconds, and the age at which a delivery is late 5 s instead of 5 min. Ends with 1 when an alert did not fire.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.e2e.harness import KEY, META, PINTEREST, SNAPCHAT, TIKTOK, Gateway, is_listening, source, wait_until
from tests.ops import tools
from tests.ops.live.prometheus import Prometheus
from tests.ops.live.stage import Stage, stage
from tests.redis_server import RedisServer

LONGEST_S = 360
YES_S = 55
"""How long consent is given, and an e-mail address sent: longer than the shortened day, or there is no yesterday."""

SHORTENED = {
    "windows": {"5m": "6s", "15m": "10s", "30m": "10s", "1h": "15s", "6h": "20s", "3d": "30s", "1d": "40s"},
    "for": "2s",
    "thresholds": {
        "> 300": "> 5",  # the oldest delivery, in seconds
        "> 34560": "> 20",  # a fifth of 48 h
        "> 120": "> 5",  # a lane's last turn
        'le="300.0"': 'le="1.0"',  # what is late
    },
}

PROVOKED = {
    "ConveyTargetAbsent": "nothing runs yet",
    "ConveyAcceptErrorBudgetBurn": "a store of 1 MiB is full, so requests are answered 503",
    "ConveyFreshnessErrorBudgetBurn": "TikTok answers after 1.5 s",
    "ConveyOutboxAgeHigh": "Pinterest answers 500 for good",
    "ConveyCircuitOpenLong": "Pinterest answers 500 for good",
    "ConveyLaneParked": "Meta refuses the token",
    "ConveyWorkerStalled": "a process that takes events runs, and none that delivers",
    "ConveyLanePausedLong": "a lane is paused and forgotten",
    "ConveyDeliveryRejectedRatioHigh": "Snapchat refuses every second order",
    "ConveyDeadLettersGrowing": "Snapchat refuses every second order",
    "ConveyDeliveriesExpired": "orders of three days ago are posted",
    "ConveyOutboxNearlyFull": "a store of 1 MiB fills up",
    "ConveyStoreVanished": "Redis is emptied while it is used",
    "ConveyLedgerMismatch": "a count in the store's file is changed by hand",
    "ConveyInvalidEventsInBatches": "half of a request's events have no time",
    "ConveyIdConflicts": "one event_id comes for two orders",
    "ConveyLeakFound": "an e-mail address stands in a free property",
    "ConveyConsentDeniedSpike": "from one moment on every consent is no",
    "ConveyConsentGap": "events say nothing about consent",
    "ConveyMatchKeyCoverageDrop": "from one moment on the checkout sends no e-mail address",
}
"""Each alert that this run provokes, and how."""

NOT_PROVOKED = {
    "ConveyTokenExpiresSoon": "needs a platform whose tokens are not renewed",
    "ConveyApiSunsetSoon": "needs a release whose API versions end soon",
    "ConveyRejectedAfterAcceptance": "needs a Google destination",
    "ConveyPairRateDrop": "pairs are judged after hours",
}


def shortened(text: str) -> str:
    """A rule file with its time shortened as `SHORTENED` says."""
    windows: Any = SHORTENED["windows"]
    rules = yaml.safe_load(text)
    for group in rules["groups"]:
        for rule in group["rules"]:
            expression = re.sub(r"\[(\w+)\]", lambda found: f"[{windows[found[1]]}]", rule["expr"])
            expression = re.sub(r"offset (\w+)", lambda found: f"offset {windows[found[1]]}", expression)
            thresholds: Any = SHORTENED["thresholds"]
            for old, new in thresholds.items():
                expression = re.sub(rf"{re.escape(old)}(?![\w.])", new, expression)
            rule["expr"] = expression
            if "for" in rule:
                rule["for"] = SHORTENED["for"]
            rule.pop("keep_firing_for", None)
    return yaml.safe_dump(rules)


def all_alerts() -> list[str]:
    """The names of the chart's alerts, in the files' order."""
    texts = [file.read_text("utf-8") for file in sorted(tools.RULES.glob("*.yaml"))]
    return list(dict.fromkeys(re.findall(r"- alert: (\w+)", "\n".join(texts))))


def provoke(stand: Stage, redis: RedisServer) -> tuple[Gateway, ...]:
    """Everything that goes wrong at once, but for the ledger."""
    sandbox = stand.sandbox
    sandbox.script(META, {"kind": "dead_token"})
    sandbox.script(PINTEREST, {"kind": "500", "times": None})
    sandbox.script(TIKTOK, {"kind": "slow", "times": None, "delay_s": 1.5})
    busy, full, apart, shared, closing = (stand.gateway(name, **config) for name, config in settings(redis).items())
    since: list[float] = []
    three_days_ago = time.time() - 3 * 86_400

    def misbehave() -> list[dict[str, Any]]:
        order = stand.order
        return [
            *(order() for _ in range(3)),
            *(order(transaction_id=f"POISON-SNAPCHAT-{time.time_ns()}-{n}") for n in range(3)),
            order(event_time=three_days_ago),
            order(event_time=None),
            order(event_id="one-for-all"),
            order(custom_data={"currency": "EUR", "value": "1", "properties": {"note": "jane@example.com"}}),
            order(consent=None),
            order(consent=None),
        ]

    def is_early() -> bool:
        if not since and is_listening(closing.port):
            since.append(time.monotonic())
        return not since or time.monotonic() - since[0] < YES_S

    def refuse_after_a_while() -> list[dict[str, Any]]:
        consent = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), is_early())
        return [stand.order(consent=consent) for _ in range(3)]

    def forget_after_a_while() -> list[dict[str, Any]]:
        order = stand.order()
        return [order if is_early() else order | {"user": {**order["user"], "email": None}}]

    stand.every(0.3, busy, misbehave)
    stand.every(0.3, closing, refuse_after_a_while)
    stand.every(0.5, closing, forget_after_a_while)
    stand.every(0.05, full, lambda: [stand.order() for _ in range(20)])
    stand.every(0.5, apart, lambda: [stand.order()])
    stand.every(0.5, shared, lambda: [stand.order()])
    return busy, full, apart, shared, closing


def settings(redis: RedisServer) -> dict[str, dict[str, Any]]:
    """The gateways, by the job Prometheus knows them under."""
    digest = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
    return {
        "busy": {},
        "full": {"store": {"max_bytes": "1MiB"}},
        "apart": {"store": {"url": redis.url}, "role": "api"},
        "shared": {"store": {"url": redis.url.replace("/0", "/1")}},
        "closing": {"sources": [{**source(), "keys": [{"hash": digest, "scopes": ["ingest", "read", "admin"]}]}]},
    }


def pause(gateway: Gateway, name: str) -> None:
    """Pause a lane as an operator does, and forget it."""
    headers = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{gateway.url}/v1/destinations/{name}/pause", json={}, headers=headers, trust_env=False)
    answer.raise_for_status()


def break_the_ledger(gateway: Gateway) -> None:
    """Change a count in the file behind a gateway's back, and start it anew."""
    assert gateway.stop() == 0
    with contextlib.closing(sqlite3.connect(gateway.database)) as connection:
        connection.execute("UPDATE counts SET deliveries = deliveries + 3 WHERE state = 'delivered'")
        connection.commit()
    gateway.start()


def run() -> int:
    """Provoke, watch, print what fired and when; the exit code."""
    out = Console()
    rules = [shortened(file.read_text("utf-8")) for file in sorted(tools.RULES.glob("*.yaml"))]
    redis = RedisServer()
    with tempfile.TemporaryDirectory(prefix="convey-live-") as folder, stage(Path(folder)) as stand:
        gateways = provoke(stand, redis)
        prometheus = Prometheus({job: [port] for job, port in stand.ports.items()}, rules)
        try:
            prometheus.start()
            began = time.monotonic()
            fired: dict[str, float] = {}
            wait_until("the alert about nothing", lambda: _note(prometheus, fired, began), 30, every_s=1)
            redis.start()
            for gateway in gateways:
                gateway.start()
            pause(gateways[-1], SNAPCHAT)
            is_emptied = is_broken = False
            with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=out) as bar:
                task = bar.add_task("waiting")
                while time.monotonic() - began < LONGEST_S and set(PROVOKED) - set(fired):
                    _note(prometheus, fired, began)
                    missing = sorted(set(PROVOKED) - set(fired))
                    bar.update(task, description=f"{len(fired)} fired; waiting for {', '.join(missing)[:100]}")
                    if not is_emptied and time.monotonic() - began > 25:
                        redis.command("FLUSHALL")
                        is_emptied = True
                    if not is_broken and set(PROVOKED) - set(fired) == {"ConveyLedgerMismatch"}:
                        break_the_ledger(gateways[-1])
                        is_broken = True
                    time.sleep(1)
        finally:
            prometheus.close()
            redis.close()
    _tell(out, fired)
    return 1 if set(PROVOKED) - set(fired) else 0


def _note(prometheus: Prometheus, fired: dict[str, float], began: float) -> bool:
    for labels in prometheus.firing():
        fired.setdefault(labels["alertname"], time.monotonic() - began)
    return bool(fired)


def _tell(out: Console, fired: dict[str, float]) -> None:
    table = Table(title="Alerts in a live run", title_justify="left")
    for column in ("alert", "fired after", "provoked by"):
        table.add_column(column, no_wrap=column != "provoked by")
    for name in all_alerts():
        seconds = f"{fired[name]:.0f} s" if name in fired else "no" if name in PROVOKED else "-"
        table.add_row(name, seconds, PROVOKED.get(name) or f"not provoked: {NOT_PROVOKED.get(name, '')}")
    out.print(table)


if __name__ == "__main__":
    sys.exit(run())
