from __future__ import annotations

import json

from tests.cli.support import KEY


def test_conflicts_are_told_and_where_there_may_be_more(run, gateway):
    conflicts = {"source": "shop", "event_name": "Purchase", "id_reused": 100, "order_has_another_id": 3}
    answer = {"first_day": "2026-11-20", "last_day": "2026-11-20", "rows": [], "conflicts": [conflicts]}
    gateway.script = [(200, {}, json.dumps(answer).encode())]
    done = run("audit", "dedup", "--url", gateway.url, CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "100 or more orders asked for the id of another order" in told
    assert "3 orders came again under another id" in told


def test_match_keys_are_shown_with_their_verdict(run, gateway):
    key = {"key": "em", "weight": "strong", "today": 0.61, "yesterday": 0.92, "week_ago": None, "from_contexts": 0.0}
    row = {"source": "shop", "event_name": "Purchase", "destination": "meta", "events": 100, "keys": [key]}
    answer = {"day": "2026-11-20", "rows": [{**row, "words": "Purchase at meta: em 61 % (yesterday 92 %)"}]}
    answer["custom_names"] = [{"source": "shop", "event_name": "purchased", "use": "Purchase", "events": 4}]
    gateway.script = [(200, {}, json.dumps(answer).encode())] * 2
    done = run("audit", "match-keys", "--url", gateway.url, "--event-name", "Purchase", CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "em │ strong │ 61 % │ 92 % │ – │ – │ 0 %" in told
    assert "Purchase at meta: em 61 % (yesterday 92 %)" in told
    assert "shop: 4 events are called purchased, a custom name: send Purchase" in told
    assert gateway.asked[0][1] == "/v1/audit/match-keys?days=9&event_name=Purchase"
    done = run("audit", "match-keys", "--url", gateway.url, "--json", CONVEY_KEY=KEY)
    assert json.loads(done.stdout) == answer


def test_rejects_are_shown_as_a_table(run, gateway):
    kind = {"source": "shop", "pointer": "/user/email", "code": "malformed", "count": 3, "today": 1}
    seen = {"first_seen": "2026-11-19T10:00:00+00:00", "last_seen": "2026-11-20T10:00:00+00:00"}
    answer = {
        "first_day": "2026-11-14",
        "last_day": "2026-11-20",
        "rejects": [{**kind, **seen, "event_names": {"Purchase": 2, "unknown": 1}}],
        "more": 2,
        "requests": [{"source": None, "problem": "unauthorized", "title": "No key", "count": 9, "today": 9, **seen}],
    }
    gateway.script = [(200, {}, json.dumps(answer).encode())] * 2
    done = run("rejects", "--url", gateway.url, "--days", "3", CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "/user/email │ malformed │ 3 │ 1 │ 2026-11-20 10:00:00 │ Purchase 2, unknown 1" in told
    assert "2 more kinds of faults" in told
    assert "no usable key │ No key │ 9 │ 9" in told
    assert gateway.asked[0][1] == "/v1/rejects?days=3&limit=100"
    assert json.loads(run("rejects", "--url", gateway.url, "--json", CONVEY_KEY=KEY).stdout) == answer
