from __future__ import annotations

import json
import socket

import pytest

from app.cli import events_file
from app.cli.events_file import FileError, batches, parse_events
from tests.cli.support import KEY, accepted

ORDER = {"event_name": "Purchase", "event_time": "2026-11-20T10:15:00Z", "transaction_id": "ORD-1"}


def _send(run, gateway, tmp_path, content, *more):
    file = tmp_path / "orders.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return run("send", str(file), "--url", gateway.url, *more, CONVEY_KEY=KEY)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ORDER),
        json.dumps([ORDER, ORDER]),
        json.dumps({"events": [ORDER, ORDER]}),
        f"{json.dumps(ORDER)}\n\n{json.dumps(ORDER)}\r\n",
        "\ufeff" + json.dumps(ORDER, indent=2),
    ],
)
def test_every_shape_of_file_is_posted_in_order(run, gateway, tmp_path, content):
    done = _send(run, gateway, tmp_path, content)
    assert done.exit_code == 0, done.output
    [(method, path, headers, body)] = gateway.asked
    assert (method, path) == ("POST", "/v1/events")
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert body == {"events": [ORDER] * content.count("ORD-1")}


def test_the_table_says_what_became_of_each_event(run, gateway, tmp_path):
    done = _send(run, gateway, tmp_path, ORDER)
    for word in ("purchase_ORD-1", "accepted", "meta queued", "tiktok denied (consent_purpose_missing: MAP_DENIED)"):
        assert word in done.stdout
    assert "1 event(s): 1 accepted" in done.stdout
    assert KEY not in done.output


def test_standard_input_and_variables(run, gateway):
    done = run("send", "-", stdin=json.dumps(ORDER), CONVEY_URL=gateway.url, CONVEY_KEY=KEY)
    assert done.exit_code == 0
    assert len(gateway.asked) == 1


def test_raw_results_count_over_the_whole_file(run, gateway, tmp_path):
    done = _send(run, gateway, tmp_path, [ORDER] * 1001, "--json")
    assert [len(body["events"]) for *_, body in gateway.asked] == [1000, 1]
    results = json.loads(done.stdout)["results"]
    assert [result["index"] for result in results] == list(range(1001))


def test_of_many_events_the_table_has_those_worth_a_look(run, gateway, tmp_path):
    def answer(read):
        status, headers, body = accepted(read)
        results = json.loads(body)
        results["results"][70] |= {
            "warnings": [{"code": "unknown_field", "pointer": "/events/70/x", "detail": "dropped"}]
        }
        results["results"][70]["destinations"]["meta"]["limited"] = True
        results["results"][71] |= {"status": "conflict", "event_id": "purchase_taken", "destinations": {}}
        return status, headers, json.dumps(results).encode()

    gateway.answer = answer
    done = _send(run, gateway, tmp_path, [ORDER] * 80)
    assert done.exit_code == 0
    assert "unknown_field /events/70/x dropped" in done.stdout
    assert "meta queued (limited)" in done.stdout
    assert "purchase_taken" in done.stdout
    assert "80 event(s): 79 accepted, 1 conflict; 78 not shown" in done.stdout


@pytest.mark.parametrize("status", [202, 422])
def test_an_invalid_event_makes_it_fail(run, gateway, tmp_path, status):
    fault = {"code": "missing", "pointer": "/event_name", "detail": "is required"}
    result: dict[str, object] = {
        "index": 0,
        "event_id": None,
        "status": "invalid",
        "destinations": {},
        "warnings": [],
        "errors": [fault],
    }
    gateway.script = [(status, {}, json.dumps({"title": "x", "results": [result]}).encode())]
    done = _send(run, gateway, tmp_path, ORDER)
    assert done.exit_code == 1
    assert "missing /event_name is required" in done.stdout


def test_a_busy_gateway_is_asked_again(run, gateway, tmp_path, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("app.cli.client.time.sleep", waited.append)
    busy = (503, {"Retry-After": "3"}, b"{}")
    gateway.script = [busy, (503, {}, b""), (503, {"Retry-After": "99999"}, b"")]
    done = _send(run, gateway, tmp_path, ORDER)
    assert done.exit_code == 0
    assert waited == [3.0, 2.0, 30.0]
    assert len(gateway.asked) == 4


def test_a_gateway_that_stays_busy(run, gateway, tmp_path):
    gateway.script = [(503, {"Retry-After": "1"}, b"{}")] * 6
    done = _send(run, gateway, tmp_path, ORDER)
    assert done.exit_code == 1
    assert "cannot keep events right now" in done.stderr
    assert len(gateway.asked) == 6


def test_what_was_sent_before_a_failure_is_shown(run, gateway, tmp_path):
    gateway.script = [
        accepted({"events": [ORDER] * 1000}),
        (413, {}, b'{"title": "Too large", "detail": "over 8 MiB"}'),
    ]
    done = _send(run, gateway, tmp_path, [ORDER] * 1500)
    assert done.exit_code == 1
    assert "1000 event(s): 1000 accepted" in done.stdout
    assert "HTTP 413): over 8 MiB; 1000 of 1500 events were sent before" in done.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, b'{"detail": "no such key"}'), "does not know this key (HTTP 401): no such key"),
        ((403, {}, b""), "may not do that"),
        ((404, {}, b"<html>"), "does not know this call"),
        ((500, {}, b"<html>"), "refused (HTTP 500)"),
        ((202, {}, b"<html>"), "did not answer as a Convey gateway does"),
        ((202, {}, b'{"results": []}'), "one result per event"),
        ((422, {}, b'{"title": "x"}'), "one result per event"),
    ],
)
def test_refusals_in_words(run, gateway, tmp_path, answer, words):
    gateway.script = [answer]
    done = _send(run, gateway, tmp_path, ORDER)
    assert done.exit_code == 1
    assert words in done.stderr
    assert KEY not in done.output


def test_no_gateway(run, tmp_path):
    file = tmp_path / "one.json"
    file.write_text(json.dumps(ORDER))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run("send", str(file), "--url", url, "--key", KEY)
    assert done.exit_code == 1
    assert f"no gateway answers at {url}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "http://127.0.0.1:1"), "an API key is needed"),
        (("--url", "http://127.0.0.1:1", "--key", " "), "an API key is needed"),
        (("--url", "http://127.0.0.1:1", "--key", "schlüssel"), "characters no key has"),
        (("--url", "127.0.0.1:8000", "--key", KEY), "--url is not a URL"),
        (("--url", "ftp://x", "--key", KEY), "--url is not a URL"),
        (("--url", "http://x:99999999", "--key", KEY), "--url is not a URL"),
    ],
)
def test_what_cannot_be_asked(run, tmp_path, arguments, words):
    file = tmp_path / "one.json"
    file.write_text(json.dumps(ORDER))
    done = run("send", str(file), *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("[]", "no events"),
        ('{"events": []}', "no events"),
        ("[1]", "event 0 is not a JSON object"),
        ('"secret"', "event 0 is not a JSON object"),
        ('{"a": 1,\n"b": jane@example.com}', "line 2"),
        ('{"a": 1}\n{"b": jane@example.com}', "line 2 is not JSON"),
        ('{"a": 1}\n[2]', "line 2 is not a JSON object"),
    ],
)
def test_files_that_hold_no_events(run, gateway, tmp_path, content, words):
    done = _send(run, gateway, tmp_path, content)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "jane" not in done.output
    assert gateway.asked == []


def test_a_file_that_is_not_there(run):
    done = run("send", "absent.json", "--key", KEY)
    assert done.exit_code == 2
    assert "absent.json cannot be read" in done.stderr


def test_terminal_codes_from_a_gateway_are_not_obeyed(run, gateway, tmp_path):
    done = _send(run, gateway, tmp_path, ORDER | {"transaction_id": "\x1b]0;owned\x07[red]"})
    assert "\x1b" not in done.stdout
    assert "[red]" in done.stdout


def test_batches_stay_within_bytes(monkeypatch):
    monkeypatch.setattr(events_file, "MAX_BYTES", 100)
    sent = list(batches([{"n": "x" * 60}] * 3 + [{"n": 1}]))
    assert [count for count, _ in sent] == [1, 1, 2]
    assert sum(len(json.loads(body)["events"]) for _, body in sent) == 4
    assert list(batches([])) == []


def test_bytes_that_are_no_text():
    with pytest.raises(FileError, match="not JSON"):
        parse_events(b"\xff\xfe")
