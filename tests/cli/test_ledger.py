from __future__ import annotations

import json

import pytest

from tests.cli.support import KEY

CLOSED = {"queued": 7, "delivered": 4, "dead": 1, "expired": 0, "withdrawn": 0, "erased": 0, "pending": 2}
MONEY = {name: f"{count * 10}.50" if count else "0" for name, count in CLOSED.items()} | {"queued": "71.50"}


def _ledger(run, gateway, answer, *more):
    gateway.script = [(200, {}, json.dumps(answer).encode())]
    return run("ledger", "--url", gateway.url, *more, CONVEY_KEY=KEY)


def _answer(**change):
    return {"destinations": {"meta": CLOSED | change | {"money": {"EUR": MONEY}}}}


def test_a_ledger_that_closes(run, gateway):
    done = _ledger(run, gateway, _answer())
    assert done.exit_code == 0, done.output
    [(method, path, headers, _)] = gateway.asked
    assert (method, path, headers["authorization"]) == ("GET", "/v1/ledger", f"Bearer {KEY}")
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row[1:-1]] for row in rows]
    assert cells[0] == ["meta", "events", "7", "4", "1", "0", "0", "0", "2", "closes"]
    assert cells[1] == ["", "EUR", "71.50", "40.50", "10.50", "0", "0", "0", "20.50", "closes"]
    assert "the ledger closes" in done.stdout


def test_a_ledger_that_does_not(run, gateway):
    done = _ledger(run, gateway, _answer(dead=0))
    assert done.exit_code == 1
    assert "off by 1" in done.stdout
    assert "does not close in 1 row(s)" in done.stdout


def test_the_answer_as_json(run, gateway):
    done = _ledger(run, gateway, _answer(pending=3), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == _answer(pending=3)


def test_an_empty_ledger(run, gateway):
    done = _ledger(run, gateway, {"destinations": {}})
    assert done.exit_code == 0
    assert "nothing was queued yet" in done.stdout


@pytest.mark.parametrize(
    "answer", [{}, {"destinations": []}, {"destinations": {"meta": {"queued": 1}}}, _answer(dead="x")]
)
def test_an_answer_that_is_no_ledger(run, gateway, answer):
    done = _ledger(run, gateway, answer)
    assert done.exit_code == 1
    assert "not a ledger" in done.stderr


def test_a_check_that_finds_nothing(run, gateway):
    check = {"deliveries": 3, "unread": 0, "differences": []}
    done = _ledger(run, gateway, _answer() | {"check": check}, "--check")
    assert done.exit_code == 0, done.output
    assert gateway.asked[0][1] == "/v1/ledger?check=true"
    assert "3 pending and dead counted again: the ledger is right" in done.stdout


def test_a_check_that_finds_a_difference(run, gateway):
    off = {"destination": "meta", "state": "dead", "currency": None, "counted": "2", "stored": "1"}
    check = {"deliveries": 3, "unread": 0, "differences": [off, off | {"currency": "EUR", "counted": "9.50"}]}
    done = _ledger(run, gateway, _answer() | {"check": check}, "--check")
    assert done.exit_code == 1
    assert "meta: the ledger counts 2 deliveries dead, 1 are stored" in done.stdout
    assert "meta: the ledger counts 9.50 EUR dead, 1 are stored" in done.stdout
    assert "2 difference(s)" in done.stdout


def test_a_gateway_that_cannot_check(run, gateway):
    done = _ledger(run, gateway, _answer(), "--check")
    assert done.exit_code == 1
    assert "older version" in done.stderr


@pytest.mark.parametrize("verb", [("ledger",), ("destinations", "list")])
def test_a_store_that_is_down_is_said_at_once(run, gateway, monkeypatch, verb):
    waited: list[float] = []
    monkeypatch.setattr("app.cli.client.time.sleep", waited.append)
    gateway.script = [(503, {"Retry-After": "5"}, b"{}")] * 9
    done = run(*verb, "--url", gateway.url, CONVEY_KEY=KEY)
    assert (done.exit_code, waited) == (1, [5.0])
    first, last = done.stderr.splitlines()
    assert "the gateway's store does not answer right now (HTTP 503); asking once more in 5 s" in first
    assert "store does not answer" in last
    assert "kept" not in done.stderr
