"""Floor and gateway in turn, and single POSTs against an empty 202: `python -m bench.run --help`.

The figures that count are ratios of one run, as machines differ: CPU per event from batch ingest to delivered at four
destinations, in relation to `bench.floor`; and single-event POSTs accepted durably, in relation to the same server
answering an empty 202. Every figure is the median of the rounds. Sink and load generator are processes of their own
and share the machine's cores with the gateway, so the rates are those of this machine and of nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench.processes import BenchError, Load, configuration, cpu_seconds, python, server, sink

CPU_BUDGET = 1.5
RATE_BUDGET = 0.6
BATCH = 100
WARM_UP = 500
CONNECTIONS = 32
LINGER = "200ms"
AT_REST = "1m"
"""A linger longer than a measurement: what is accepted stays queued."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how often."""

    events: int
    posts: int
    rounds: int
    folder: Path | None


def floor(options: Options) -> Figures:
    """The straight-line script."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, sink() as sink_url:
        process = python(
            "bench.floor",
            f"--sink={sink_url}",
            f"--file={folder}/floor.db",
            f"--events={options.events}",
            f"--warm-up={WARM_UP}",
            stdout=subprocess.PIPE,
        )
        output, _ = process.communicate()
        if process.returncode:
            raise BenchError("the floor failed")
        result = orjson.loads(output)
    return {
        "cpu_us": result["cpu_seconds"] / options.events * 1e6,
        "rate": options.events / result["seconds"],
    }


def gateway(options: Options) -> Figures:
    """Batches posted over four connections, until everything is settled as delivered at four destinations."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name, sink() as sink_url:
        folder = Path(name)
        path = configuration(folder, sink_url, LINGER)
        with server("app", folder, "serve", f"--config={path}") as running:
            Load(running.port, first=1, events=WARM_UP, batch=BATCH, connections=4).go()
            running.until_delivered(sink_url, WARM_UP)
            load = Load(running.port, first=1 + WARM_UP, events=options.events, batch=BATCH, connections=4)
            cpu, began = cpu_seconds(running.pid), time.perf_counter()
            result = load.go()
            running.until_delivered(sink_url, WARM_UP + options.events)
            cpu, elapsed = cpu_seconds(running.pid) - cpu, time.perf_counter() - began
    return {
        "cpu_us": cpu / options.events * 1e6,
        "rate": options.events / elapsed,
        "accept_rate": options.events / result["seconds"],
        "p50_ms": result["p50_ms"],
        "p99_ms": result["p99_ms"],
    }


def _singles(port: int, posts: int) -> Figures:
    Load(port, first=1, events=max(CONNECTIONS, posts // 10), batch=1, connections=CONNECTIONS).go()
    result = Load(port, first=10_000_001, events=posts, batch=1, connections=CONNECTIONS).go()
    return {"rate": result["requests"] / result["seconds"], "p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"]}


def empty(options: Options) -> Figures:
    """Single POSTs at the gateway's server with nothing behind it."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        path = configuration(Path(name), "http://127.0.0.1:9", AT_REST)
        with server("bench.empty", Path(name), str(path)) as running:
            return _singles(running.port, options.posts)


def durable(options: Options, linger: str) -> Figures:
    """Single POSTs at the gateway, each answered once it is on disk."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name, sink() as sink_url:
        folder = Path(name)
        path = configuration(folder, sink_url, linger)
        with server("app", folder, "serve", f"--config={path}") as running:
            return _singles(running.port, options.posts)


def commit_ms(folder: Path | None) -> float:
    """What one durable commit takes on this disk."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        connection = sqlite3.connect(f"{name}/probe.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE probe (value INTEGER)")
        taken = []
        for value in range(50):
            began = time.perf_counter()
            connection.execute("INSERT INTO probe VALUES (?)", (value,))
            taken.append(time.perf_counter() - began)
        connection.close()
    return median(taken) * 1000


def measure(options: Options, tell: Callable[[str], None]) -> dict[str, Any]:
    """Every figure: the median of the rounds, and the rounds."""
    kinds: dict[str, Callable[[], Figures]] = {
        "floor": lambda: floor(options),
        "gateway": lambda: gateway(options),
        "empty": lambda: empty(options),
        "accept": lambda: durable(options, AT_REST),
        "accept_and_deliver": lambda: durable(options, LINGER),
    }
    rounds: dict[str, list[Figures]] = {kind: [] for kind in kinds}
    for number in range(1, options.rounds + 1):
        for kind, run in kinds.items():
            tell(f"round {number} of {options.rounds}: {kind}")
            rounds[kind].append(run())
    medians = {
        kind: {name: median(figures[name] for figures in each) for name in each[0]} for kind, each in rounds.items()
    }
    return {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "commit_ms": commit_ms(options.folder),
        },
        "events": options.events,
        "posts": options.posts,
        **medians,
        "cpu_ratio": medians["gateway"]["cpu_us"] / medians["floor"]["cpu_us"],
        "rate_ratio": medians["accept"]["rate"] / medians["empty"]["rate"],
        "rounds": rounds,
    }


def report(found: dict[str, Any]) -> str:
    """The figures for people."""
    machine, each = found["machine"], found["rounds"]
    lines = [
        f"{machine['cores']} cores, Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"a durable commit takes {machine['commit_ms']:.2f} ms; median of {len(each['floor'])}",
        "",
        f"Batch ingest to delivered at four destinations, {found['events']} events, {BATCH} a POST",
        f"  {'':<26}{'CPU µs/event':>14}{'events/s':>11}   rounds",
    ]
    for kind in ("floor", "gateway"):
        spread = " ".join(f"{figures['cpu_us']:.0f}" for figures in each[kind])
        lines.append(f"  {kind:<26}{found[kind]['cpu_us']:>14.1f}{found[kind]['rate']:>11,.0f}   {spread}")
    lines += [
        _verdict("gateway / floor", found["cpu_ratio"], f"at most {CPU_BUDGET}", found["cpu_ratio"] <= CPU_BUDGET),
        "",
        f"Single-event POSTs, {found['posts']} over {CONNECTIONS} connections",
        f"  {'':<26}{'POSTs/s':>14}{'p50 ms':>11}{'p99 ms':>9}   rounds",
    ]
    names = {
        "empty": "empty 202",
        "accept": "accepted durably",
        "accept_and_deliver": "  and delivered meanwhile",
    }
    for kind, name in names.items():
        figures = found[kind]
        spread = " ".join(f"{one['rate']:.0f}" for one in each[kind])
        lines.append(
            f"  {name:<26}{figures['rate']:>14,.0f}{figures['p50_ms']:>11.2f}{figures['p99_ms']:>9.2f}   {spread}"
        )
    good = found["rate_ratio"] >= RATE_BUDGET
    lines.append(_verdict("accepted durably / empty", found["rate_ratio"], f"at least {RATE_BUDGET}", good))
    return "\n".join(lines)


def _verdict(what: str, ratio: float, budget: str, is_met: bool) -> str:
    return f"  {what:<26}{ratio:>14.2f}   budget: {budget}{'' if is_met else ', missed'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000, help="events per round at floor and gateway")
    parser.add_argument("--posts", type=int, default=8_000, help="single POSTs per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round: whether it runs, not what it costs")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument("--folder", type=Path, help="where the stores are made, as disks differ; else the system's own")
    asked = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        parser.exit(2, "the CPU of a running process is read from /proc: this needs Linux\n")
    options = Options(asked.events, asked.posts, asked.rounds, asked.folder)
    if asked.quick:
        options = Options(2_000, 1_000, 1, asked.folder)
    try:
        found = measure(options, lambda line: print(line, file=sys.stderr, flush=True))
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from error
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if asked.json else report(found))


if __name__ == "__main__":
    main()
