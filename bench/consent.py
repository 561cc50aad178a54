"""What consent costs per event, as microseconds and as ratios in one run: decode and decide for a flag map, a TC string
and a GPP string, with the string met before and met for the first time.

    python -m bench.consent

The floor is what any decision costs: the same destinations, an event that says nothing. Destinations: four, of two
different needs, as a shop with Google and three platforms on no vendor list has them.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.consent.jurisdiction import Place, Regime
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.policy import decide
from app.consent.signals import forget_strings, read_signals
from app.consent.table import LISTED_SITUATIONS
from app.wire import Consent

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NEEDS = [ConsentNeeds(gvl_id=755, has_consent_states=True), ConsentNeeds()]
OPTIONS = ConsentOptions(policy="regional")
ROUNDS = 7
EVENTS = 4000

TCF = next(said["tcf"] for said in LISTED_SITUATIONS.values() if "tcf" in said)
GPP = next(said["gpp"] for said in LISTED_SITUATIONS.values() if "gpp" in said)
CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "flag map": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
    "TC string": {"tcf": TCF},
    "GPP string": {"gpp": GPP},
}


def one(consent: Consent) -> None:
    """What the pipeline does about the consent of one event."""
    signals, _ = read_signals(consent)
    for needs in NEEDS:
        decide(signals, needs, OPTIONS, (Regime.OPT_IN, Place("DE")), NOW)


def us_per_event(step: Callable[[], None]) -> float:
    """Microseconds of CPU per event, the median of several rounds."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(EVENTS):
            step()
        found.append((time.process_time_ns() - start) / EVENTS / 1000)
    return statistics.median(found)


def main() -> int:
    """Print the figures."""
    figures: dict[str, float] = {}
    for name, said in CASES.items():
        consent = Consent.model_validate(said)
        figures[name] = us_per_event(lambda consent=consent: one(consent))  # type: ignore[misc]
        if name.endswith("string"):

            def first(consent: Consent = consent) -> None:
                forget_strings()
                one(consent)

            figures[f"{name}, never met"] = us_per_event(first)
    floor = figures["nothing"]
    sys.stdout.write(f"{'consent of one event':28} {'us':>8} {'x nothing':>10}\n")
    for name, figure in figures.items():
        sys.stdout.write(f"{name:28} {figure:8.1f} {figure / floor:10.1f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
