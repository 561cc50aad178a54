"""`convey events`: a held event let go, or ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.support import KEY

RESULT: dict[str, Any] = {
    "event_id": "purchase_ORD/1 \x1b[31m",
    "event_name": "Purchase",
    "source": "shop",
    "status": "released",
    "destinations": {"meta": {"outcome": "queued", "limited": False}, "tiktok": {"outcome": "denied"}},
}
PROBLEMS = [
    (409, "urn:convey:problem:not_held", "it was cancelled: it is not sent any more"),
    (404, "urn:convey:problem:not_found", "no event of this id is known"),
]


def _run(run, gateway, *arguments):
    return run("events", *arguments, "--url", gateway.url, CONVEY_KEY=KEY)


@pytest.mark.parametrize("verb", ["release", "cancel"])
def test_the_event_is_named_as_it_is(run, gateway, verb: str) -> None:
    gateway.script = [(200, {}, json.dumps({"results": [RESULT]}).encode())]
    done = _run(run, gateway, verb, "purchase_ORD/1", "--event-name", "Purchase", "--source", "a b")
    assert done.exit_code == 0, done.output
    (asked,) = gateway.asked
    assert asked[:2] == ("POST", f"/v1/events/purchase_ORD%2F1/{verb}?event_name=Purchase&source=a+b")
    assert "released" in done.stdout
    assert "tiktok denied" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("status", "kind", "detail"), PROBLEMS)
def test_a_refusal_is_told(run, gateway, status: int, kind: str, detail: str) -> None:
    gateway.script = [(status, {}, json.dumps({"type": kind, "detail": detail}).encode())]
    done = _run(run, gateway, "release", "purchase_ORD-1")
    assert done.exit_code == 1
    assert done.stderr == f"convey: {detail}\n"


def test_the_raw_answer(run, gateway) -> None:
    gateway.script = [(200, {}, json.dumps({"results": [RESULT]}).encode())]
    done = _run(run, gateway, "cancel", "purchase_ORD-1", "--json")
    assert json.loads(done.stdout) == {"results": [RESULT]}
