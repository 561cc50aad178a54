from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.support import KEY

ARRIVED = {
    "destination": "meta",
    "event_id": "purchase_ORD-1\x1b[31m",
    "event_name": "Purchase",
    "delivered_at": "2026-11-20T12:00:00+00:00",
    "trace_id": None,
    "certain": True,
}
NOTHING = {"events": 0, "event_ids": 0, "contexts": 0, "pairs": 0, "consent_proofs": 0}


def _answer(**over: Any) -> tuple[int, dict[str, str], bytes]:
    told = {
        "complete": True,
        "continue_with": None,
        "phase": "delete",
        "erased_at": "2026-11-20T12:00:00+00:00",
        "kept_until": "2027-12-25T12:00:00+00:00",
        "looked_at": 10,
        "found": 0,
        "ended": {},
        "delivered": [],
        "deleted": NOTHING,
        "in_flight": {},
        "left": 0,
        "in_flight_until": "2026-11-20T12:00:10+00:00",
        "warnings": [],
        **over,
    }
    return 200, {}, json.dumps(told).encode()


def _run(run, gateway, *arguments, **more):
    return run("privacy", *arguments, "--url", gateway.url, CONVEY_KEY=KEY, **more)


def test_an_erasure_goes_on_until_it_is_complete_and_tells_what_platforms_have(run, gateway):
    gateway.script = [
        _answer(
            complete=False,
            phase="stop",
            continue_with="a~stop~1~7",
            ended={"meta": {"pending": 2, "dead": 1}},
            delivered=[ARRIVED],
        ),
        _answer(complete=False, phase="stop", continue_with="a~delete~1~", ended={"tiktok": {"pending": 1, "dead": 0}}),
        _answer(deleted={**NOTHING, "events": 4, "contexts": 1}),
    ]
    done = _run(run, gateway, "erase", "--email", "jane@example.com", "--external-id", "cust-991", "--yes")
    assert done.exit_code == 0, done.output
    assert [(path, body.get("continue_with")) for _, path, _, body in gateway.asked] == [
        ("/v1/privacy/erasures", None),
        ("/v1/privacy/erasures", "a~stop~1~7"),
        ("/v1/privacy/erasures", "a~delete~1~"),
    ]
    assert {json.dumps(body["user"]) for *_, body in gateway.asked} == {
        json.dumps({"email": ["jane@example.com"], "external_id": ["cust-991"]})
    }
    assert "deliveries ended as erased: 4 (3 meta, 1 tiktok)" in done.stdout
    assert "events deleted: 4 (1 contexts)" in done.stdout
    assert "purchase_ORD-1" in done.stdout
    assert "\x1b" not in done.stdout


def test_what_was_in_flight_fails_it(run, gateway):
    gateway.script = [_answer(in_flight={"meta": 2}, left=2)]
    done = _run(run, gateway, "erase", "--phone", "+14155552671", "--yes", "--json", "--keep-proofs")
    assert done.exit_code == 1
    assert "events left, as they were being sent: 2; run it again after 2026-11-20T12:00:10+00:00" in done.stderr
    assert json.loads(done.stdout)["in_flight"] == {"meta": 2}
    assert gateway.asked[0][3]["keep_proofs"] is True


def test_broken_off_it_still_tells_what_platforms_have(run, gateway):
    gateway.script = [
        _answer(complete=False, phase="stop", continue_with="a~stop~1~7", delivered=[ARRIVED]),
        (400, {}, b'{"title": "no", "detail": "no longer"}'),
    ]
    done = _run(run, gateway, "erase", "--email", "jane@example.com", "--yes")
    assert done.exit_code == 1
    assert "purchase_ORD-1" in done.stdout
    assert "no longer; not finished: it may be run again" in done.stderr


@pytest.mark.parametrize("verb", [("erase", "--yes"), ("access",)])
def test_a_gateway_that_is_away_is_told_at_once_and_waited_for_a_minute(run, gateway, monkeypatch, verb):
    waited: list[float] = []
    monkeypatch.setattr("app.cli.client.time.sleep", waited.append)
    gateway.close()
    done = _run(run, gateway, *verb, "--email", "jane@example.com")
    first, *_, last = done.stderr.splitlines()
    assert f"no gateway answers at {gateway.url}" in first
    assert first.endswith("trying again in 1 s, for about 60 s in all")
    assert 60 <= sum(waited) < 70
    assert (done.exit_code, done.stdout) == (1, "")
    assert "it was asked again for 61 s" in last
    assert ("it may be run again" in last) is ("erase" in verb)


def test_an_answer_ends_the_minute_and_a_busy_gateway_is_told_too(run, gateway):
    gateway.script = [(503, {"retry-after": "30"}, b"{}")] * 4 + [_answer()]
    done = _run(run, gateway, "erase", "--email", "jane@example.com", "--yes")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("trying again in 30 s") == 4


def test_what_was_refused_is_not_to_be_run_again(run, gateway):
    error = {"pointer": "/user/email", "code": "email_malformed", "detail": "not an address"}
    gateway.script = [(400, {}, json.dumps({"title": "no", "errors": [error]}).encode())] * 2
    done = _run(run, gateway, "erase", "--email", "notanaddress", "--yes")
    assert done.exit_code == 1
    assert done.stderr.endswith("user/email: not an address; nothing was erased\n")
    assert "what was printed" not in _run(run, gateway, "access", "--email", "notanaddress").stderr


def test_it_asks_first(run, gateway):
    refused = _run(run, gateway, "erase", "--email", "jane@example.com", stdin="n\n")
    assert (refused.exit_code, gateway.asked) == (1, [])
    unanswered = _run(run, gateway, "erase", "--email", "jane@example.com", stdin="")
    assert unanswered.exit_code == 2
    assert "--yes" in unanswered.stderr
    gateway.script = [_answer()]
    assert _run(run, gateway, "erase", "--email", "jane@example.com", stdin="y\n").exit_code == 0


def test_nobody_named(run, gateway):
    for verb in ("withdraw", "erase", "access"):
        done = _run(run, gateway, verb)
        assert done.exit_code == 2
        assert "--email" in done.stderr


def test_access_prints_a_line_for_each_record(run, gateway):
    page = {"events": [{"event_id": "a"}], "withdrawals": [{"kind": "erasure"}], "looked_at": 5, "warnings": []}
    gateway.script = [
        (200, {}, json.dumps({**page, "next": "7"}).encode()),
        (200, {}, json.dumps({**page, "events": [{"event_id": "b"}], "withdrawals": [], "next": None}).encode()),
    ]
    done = _run(run, gateway, "access", "--external-id", "cust-991", "--source", "shop")
    assert done.exit_code == 0, done.output
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"record": "withdrawal", "kind": "erasure"},
        {"record": "event", "event_id": "a"},
        {"record": "event", "event_id": "b"},
    ]
    assert [body.get("cursor") for *_, body in gateway.asked] == [None, "7"]
    assert gateway.asked[0][3]["source"] == "shop"
    assert "events found: 2; records looked at: 10" in done.stderr
