"""What every test shares, and the figures that some of them print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

FIGURES = "figures"

# Steps and checks that tests of other folders use as well, registered before any of them is imported.
pytest.register_assert_rewrite(*(f"tests.{folder}.support" for folder in ("api", "delivery", "outbox", "pipeline")))


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the gateway does."""
    return "asyncio"


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Keeps a line of figures for the end of the run, where it is shown even when the test passes."""
    return lambda line: record_property(FIGURES, line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [
        (report.nodeid.rpartition("/")[2], line)
        for report in reports
        for name, line in getattr(report, "user_properties", ())
        if name == FIGURES
    ]
    if lines:
        terminalreporter.section("figures")
        for node, line in lines:
            terminalreporter.write_line(f"{node}: {line}")
