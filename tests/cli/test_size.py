"""`convey size`: what it prints, and what it answers a mistake with."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from app.cli import app


def test_it_prints_memory_servers_and_quotas():
    done = CliRunner().invoke(
        app, ["size", "--rate", "100", "--outage", "6h", "--destinations", "4", "--journal", "24h", "--proofs", "0s"]
    )
    assert done.exit_code == 0, done.output
    for words in ("waiting", "journal", "remembered", "2 masters", "store.partitions: 256", "Google", "fits"):
        assert words in done.output


def test_a_quota_that_is_too_small_is_an_exit_code():
    done = CliRunner().invoke(app, ["size", "--rate", "5000"])
    assert done.exit_code == 1
    assert "TOO MUCH" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "100", "--outage", "6"], "unit"),
        (["--rate", "100", "--server-memory", "1MiB"], "256MiB"),
        (["--rate", "0"], "--rate"),
        ([], "--rate"),
    ],
)
def test_mistakes(arguments: list[str], words: str):
    done = CliRunner().invoke(app, ["size", *arguments])
    assert done.exit_code == 2
    assert words in done.output
