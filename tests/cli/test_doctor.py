from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.support import KEY, Answer, Gateway

READY: Answer = (200, {}, b'{"status": "ready", "details": {}}')


def refused(status: int) -> Any:
    return lambda _read: (status, {}, json.dumps({"status": status, "title": "refused"}).encode())


@pytest.mark.parametrize(("status", "words"), [(401, "give a key of this gateway"), (403, "with the scope read")])
def test_a_refused_key_has_a_next_step_of_its_own(run, gateway: Gateway, status: int, words: str) -> None:
    gateway.script, gateway.answer = [READY], refused(status)
    done = run("doctor", "--url", gateway.url, "--offline", "--json", CONVEY_KEY=KEY)
    found = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    for check in ("lanes", "ledger", "pairs", "rejects", "match_keys", "freshness", "event_names"):
        assert found[check]["level"] == "unknown"
        assert words in found[check]["next_step"], found[check]


def test_a_gateway_that_refuses_the_key_at_once_is_not_to_be_started(run, gateway: Gateway) -> None:
    gateway.answer = refused(401)
    done = run("doctor", "--url", gateway.url, "--offline", "--json", CONVEY_KEY=KEY)
    found = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert (done.exit_code, found["gateway"]["level"]) == (1, "problem")
    assert "give a key of this gateway" in found["gateway"]["next_step"]
    assert "does not answer" not in found["leaks"]["words"]
