"""Sizing: sums that add up, verdicts at their edges, and a page that says what the module says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.sizing import BUSY, GIB, QUOTAS, SERVER_US_EACH, Load, demand, partitions_for, size

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SOME = Load(100, 6 * HOUR, 4, journal_retention=DAY, proof_retention=timedelta(0))
PAGE = Path(__file__).parent.parent / "docs" / "sizing.md"


def test_memory_adds_up():
    needs = size(SOME)
    assert needs.waiting_bytes == 100 * 6 * 3600 * (1566 + 4 * 283)
    assert needs.journal_bytes == 100 * 18 * 3600 * (280 + 4 * 67)
    assert needs.remembered_bytes == 100 * 24 * 3600 * (105 + 4 * 4)
    assert needs.proof_bytes == 0
    assert size(replace(SOME, proof_retention=DAY)).proof_bytes == 100 * 24 * 3600 * 80
    assert needs.memory_bytes == needs.waiting_bytes + needs.journal_bytes + needs.remembered_bytes + (16 << 20)


@pytest.mark.parametrize("field", ["rate", "destinations"])
def test_more_takes_more(field: str):
    few, many = size(SOME), size(replace(SOME, **{field: getattr(SOME, field) * 3}))
    assert many.memory_bytes > few.memory_bytes
    assert many.servers > few.servers
    assert many.survives < few.survives


def test_what_it_survives_is_what_just_fits():
    needs = size(SOME)
    for spare, servers in ((timedelta(minutes=-2), 1), (timedelta(minutes=2), 2)):
        assert size(replace(SOME, outage=needs.survives + spare)).servers == servers


def test_a_window_within_the_journal_costs_nothing_more():
    assert size(replace(SOME, journal_retention=2 * DAY)).remembered_bytes == 0
    assert size(replace(SOME, journal_retention=7 * DAY)).remembered_bytes == 0


def test_one_server_that_is_too_busy_is_not_one():
    rate = BUSY * 1e6 / SERVER_US_EACH / 4
    light = Load(rate, timedelta(0), 4, 1000 * GIB, timedelta(0), timedelta(0), timedelta(0))
    assert size(replace(light, rate=rate * 0.99)).servers == 1
    needs = size(replace(light, rate=rate * 1.01))
    assert needs.servers > 1
    assert needs.busy <= BUSY


@pytest.mark.parametrize(("servers", "partitions"), [(2, 256), (16, 256), (17, 512), (256, 4096), (5000, 4096)])
def test_partitions_of_a_cluster(servers: int, partitions: int):
    assert partitions_for(servers) == partitions


def test_google_s_day_is_the_limit():
    google = QUOTAS[0]
    slow = demand(google, SOME)
    assert (slow.per_minute, slow.per_day, slow.fits) == (30, 43_200, True)
    assert demand(google, SOME, workers=2).fits
    assert not demand(google, SOME, workers=3).fits
    assert demand(google, replace(SOME, rate=2_314)).fits
    fast = demand(google, replace(SOME, rate=2_316))
    assert (fast.fits, fast.catch_up) == (False, None)


def test_few_events_are_few_requests():
    assert demand(QUOTAS[0], replace(SOME, rate=0.01)).per_day == pytest.approx(864)


@pytest.mark.parametrize("rate", [100, 1000, 5000])
def test_the_page_says_what_the_module_says(rate: int):
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {rate:,} |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    for cell, retention in zip(cells, (HOUR, DAY, 7 * DAY), strict=False):
        survives = size(replace(SOME, rate=rate, journal_retention=retention)).survives
        assert cell == (f"{survives / HOUR:.3g} h" if survives else "more than one server")
    needs = size(replace(SOME, rate=rate))
    assert cells[3] == f"{needs.memory_bytes / GIB:.1f} GiB, {needs.servers} servers"
    proofs = size(Load(rate, 6 * HOUR, 4)).proof_bytes
    assert cells[4] == f"{proofs / GIB:,.0f} GiB"
