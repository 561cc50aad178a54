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
    gateway.script = [(200, {}, json.dumps(answer).encode())] * 2
    done = run("audit", "match-keys", "--url", gateway.url, "--event-name", "Purchase", CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    told = " ".join(done.stdout.split())
    assert "em │ strong │ 61 % │ 92 % │ – │ – │ 0 %" in told
    assert "Purchase at meta: em 61 % (yesterday 92 %)" in told
    assert gateway.asked[0][1] == "/v1/audit/match-keys?days=9&event_name=Purchase"
    done = run("audit", "match-keys", "--url", gateway.url, "--json", CONVEY_KEY=KEY)
    assert json.loads(done.stdout) == answer
