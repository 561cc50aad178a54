"""What sick platforms cost those who post: `python -m bench.failing --help`.

The time to accept under 1,000 events a second while every destination answers 500, or hangs, in relation to all of
them answering well: the 99th percentile, the median of the rounds, in one run. Requests come at fixed instants and
their time counts from then, so that a server that stalls is seen to.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from bench.processes import Load, configuration, server, sink

BUDGET = 1.5
BATCH = 10
MODES = ("ok", "500", "hang")


def p99_ms(mode: str, rate: int, seconds: int) -> float:
    """The 99th percentile of the time to accept `rate` requests a second, the platforms answering as `mode` says."""
    with tempfile.TemporaryDirectory() as folder, sink(mode) as sink_url:
        config = configuration(Path(folder), sink_url, "200ms")
        with server("app", Path(folder), "serve", f"--config={config}") as gateway:
            warm = rate * BATCH * 2
            Load(gateway.port, first=1, events=warm, batch=BATCH, connections=16, rate=rate).go()
            events = rate * BATCH * seconds
            told = Load(gateway.port, first=1 + warm, events=events, batch=BATCH, connections=16, rate=rate).go()
    return float(told["p99_ms"])


def main() -> None:
    """Measure in turn, and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.failing", description=main.__doc__)
    parser.add_argument("--events", type=int, default=1000, help="events posted a second")
    parser.add_argument("--seconds", type=int, default=10, help="how long each measurement lasts")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(options.rounds):
        for mode in MODES:
            figures[mode].append(p99_ms(mode, options.events // BATCH, options.seconds))
    healthy = median(figures["ok"])
    print(f"accepting {options.events} events/s in batches of {BATCH}, p99 of a request, medians of {options.rounds}")
    print(f"all destinations healthy      {healthy:8.1f} ms")
    for mode, words in (("500", "every one answering 500"), ("hang", "every one hanging")):
        p99 = median(figures[mode])
        print(f"{words:<29} {p99:8.1f} ms  {p99 / healthy:5.2f} x  (budget {BUDGET} x)")


if __name__ == "__main__":
    main()
