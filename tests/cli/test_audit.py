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
