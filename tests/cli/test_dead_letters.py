from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.support import KEY

LETTER = {
    "event_id": "purchase_1",
    "destination": "meta",
    "reason": "rejected_by_platform",
    "attempts": 2,
    "died_at": "2026-11-20T12:00:00+00:00",
    "unsendable": "dedup_window_passed",
    "detail": "Invalid \x1b[31m parameter",
}
SUM = {
    "destination": "meta",
    "reason": "rejected_by_platform",
    "deliveries": 3,
    "money": {"EUR": "30.00"},
    "unsendable": {"dedup_window_passed": {"deliveries": 2, "money": {"EUR": "20.00"}}},
}


def _ended(ended: int = 0, following: str | None = None, **more: Any) -> dict[str, Any]:
    told = {
        "dry_run": not ended,
        "ended": ended,
        "deliveries": 1200,
        "money": {"EUR": "12.50", "USD": "3"},
        "unsendable": {},
        "unsendable_share": 0.0,
        "next": following,
    }
    return told | more


def _say(gateway, *answers):
    gateway.script = [(200, {}, json.dumps(answer).encode()) for answer in answers]


def _run(run, gateway, *arguments, **more):
    return run("dead-letters", *arguments, "--url", gateway.url, CONVEY_KEY=KEY, **more)


def test_the_list(run, gateway):
    _say(gateway, {"dead_letters": [LETTER], "next": "c", "summary": [SUM]})
    done = _run(run, gateway, "list", "--reason", "rejected_by_platform", "--older-than", "24h", "--limit", "1")
    assert done.exit_code == 0, done.output
    [(method, path, _, _)] = gateway.asked
    assert method == "GET"
    assert path == "/v1/dead-letters?reason=rejected_by_platform&older_than=24h&summary=true&limit=1"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if line[0] == "│"]
    assert rows[0] == ["meta", "rejected_by_platform", "3", "30.00 EUR", "2"]
    assert rows[1][:3] == ["2026-11-20T12:00:00", "meta", "purchase_1"]
    assert "\x1b" not in done.stdout
    assert "2 more not shown" in done.stdout


def test_the_list_reads_on(run, gateway):
    _say(
        gateway,
        {"dead_letters": [LETTER] * 2, "next": "c&d", "summary": [SUM]},
        {"dead_letters": [LETTER], "next": None, "summary": None},
    )
    done = _run(run, gateway, "list", "--json", "--destination", "meta")
    assert len(json.loads(done.stdout)["dead_letters"]) == 3
    assert gateway.asked[1][1] == "/v1/dead-letters?destination=meta&limit=18&cursor=c%26d"


def test_nothing_to_list(run, gateway):
    _say(gateway, {"dead_letters": [], "next": None, "summary": []})
    done = _run(run, gateway, "list")
    assert (done.exit_code, done.stdout) == (0, "no dead letters\n")


def test_a_replay_goes_step_by_step(run, gateway):
    _say(gateway, _ended(), _ended(1000, "c1"), _ended(200))
    done = _run(run, gateway, "replay", "--destination", "meta", "--yes")
    assert done.exit_code == 0, done.output
    assert [asked[3] for asked in gateway.asked] == [
        {"destination": "meta", "only_sendable": False, "dry_run": True},
        {"destination": "meta", "only_sendable": False, "limit": 1000},
        {"destination": "meta", "only_sendable": False, "limit": 1000, "cursor": "c1"},
    ]
    assert "1200 to replay (12.50 EUR, 3 USD)" in done.stderr
    assert done.stdout == "1200 replayed\n"


def test_a_dry_run_tells_what_would_not_be_sent(run, gateway):
    gone = {"deliveries": 7, "money": {}}
    lost = {"outcome_unknown": {"deliveries": 300, "money": {"EUR": "5"}}, "body_unreadable": gone}
    _say(gateway, _ended(unsendable=lost, unsendable_share=0.25))
    done = _run(run, gateway, "replay", "--all", "--only-sendable", "--dry-run")
    assert "unsendable: 300 (5 EUR), outcome_unknown" in done.stdout
    assert "unsendable: 7, body_unreadable: the event was sealed under a key that is gone" in done.stdout
    assert "25.0%" in done.stdout
    [(_, _, _, body)] = gateway.asked
    assert body == {"all": True, "only_sendable": True, "dry_run": True}


def test_a_purge_asks_first(run, gateway):
    _say(gateway, _ended())
    done = _run(run, gateway, "purge", "--all", stdin="n\n")
    assert done.exit_code == 1
    assert "1200 to purge" in done.stderr
    assert "nothing was done" in done.stderr
    [(method, path, _, _)] = gateway.asked
    assert (method, path) == ("DELETE", "/v1/dead-letters?all=true&dry_run=true")


def test_nobody_there_to_answer(run, gateway):
    _say(gateway, _ended())
    done = _run(run, gateway, "purge", "--all", stdin="")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert len(gateway.asked) == 1


def test_a_purge_as_json(run, gateway):
    _say(gateway, _ended(), _ended(1200))
    done = _run(run, gateway, "purge", "--event-name", "Lead", "--yes", "--json")
    assert json.loads(done.stdout) == {"purged": 1200}
    assert gateway.asked[1][1] == "/v1/dead-letters?event_name=Lead&limit=1000"


def test_nothing_to_replay(run, gateway):
    _say(gateway, _ended(deliveries=0, money={}))
    done = _run(run, gateway, "replay", "--all")
    assert done.exit_code == 0
    assert len(gateway.asked) == 1


def test_stopped_midway_it_says_how_far_it_got(run, gateway):
    _say(gateway, _ended(), _ended(1000, "c1"))
    gateway.script.append((403, {}, b"{}"))
    done = _run(run, gateway, "replay", "--all", "--yes")
    assert done.exit_code == 1
    assert "1000 were replayed before" in done.stderr


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_which_must_be_said(run, gateway, verb):
    done = _run(run, gateway, verb, "--yes")
    assert done.exit_code == 2
    assert "--all" in done.stderr
    assert gateway.asked == []


@pytest.mark.parametrize("answer", [{}, {"dead_letters": 1}, {"dead_letters": [1], "summary": []}])
def test_an_answer_that_is_no_list(run, gateway, answer):
    _say(gateway, answer)
    assert _run(run, gateway, "list").exit_code == 1


@pytest.mark.parametrize("answer", [{}, _ended(money=3), _ended(unsendable={"x": 1}), _ended(deliveries="x")])
def test_an_answer_that_is_no_dry_run(run, gateway, answer):
    _say(gateway, answer)
    done = _run(run, gateway, "purge", "--all", "--yes")
    assert done.exit_code == 1
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_what_the_gateway_finds_wrong_is_told(run, gateway):
    errors = [{"pointer": "/reason", "code": "invalid", "detail": "Input should be 'rejected_by_platform'"}]
    gateway.script = [(400, {}, json.dumps({"detail": "see errors", "errors": errors}).encode())]
    done = _run(run, gateway, "list", "--reason", "nonsense")
    assert done.exit_code == 1
    assert "reason: Input should be 'rejected_by_platform'" in done.stderr
