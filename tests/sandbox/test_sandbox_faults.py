"""Every fault over real HTTP: what the client sees, what the platform took, what was noted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

pytestmark = pytest.mark.anyio
PLATFORMS = ("meta", "tiktok", "pinterest", "snapchat")

ANSWERS: dict[tuple[str, str], tuple[int, list[Any], Any]] = {
    ("429", "meta"): (429, ["error", "code"], 4),
    ("429", "tiktok"): (401, ["code"], 40100),
    ("429", "pinterest"): (429, ["code"], 8),
    ("429", "snapchat"): (429, ["status"], "INVALID"),
    ("500", "meta"): (500, ["error", "is_transient"], True),
    ("500", "tiktok"): (500, ["code"], 50000),
    ("500", "pinterest"): (500, ["code"], 0),
    ("500", "snapchat"): (500, ["status"], "INVALID"),
    ("dead_token", "meta"): (401, ["error", "code"], 190),
    ("dead_token", "tiktok"): (401, ["code"], 40105),
    ("dead_token", "pinterest"): (401, ["code"], 2),
    ("dead_token", "snapchat"): (401, ["status"], "INVALID"),
    ("partial", "meta"): (400, ["error", "code"], 100),
    ("partial", "tiktok"): (200, ["code"], 40002),
    ("partial", "snapchat"): (400, ["status"], "INVALID"),
    ("error_200", "meta"): (200, ["error", "code"], 2),
    ("error_200", "tiktok"): (200, ["code"], 50000),
    ("error_200", "pinterest"): (200, ["code"], 0),
    ("error_200", "snapchat"): (200, ["status"], "INVALID"),
}


def dig(body: Any, path: list[Any]) -> Any:
    for key in path:
        body = body[key]
    return body


@pytest.mark.parametrize(("case", "expected"), ANSWERS.items(), ids=[f"{kind}-{name}" for kind, name in ANSWERS])
async def test_scripted_answers_in_each_platforms_style(
    lab: Any, case: tuple[str, str], expected: tuple[int, list[Any], Any]
) -> None:
    kind, platform = case
    status, path, value = expected
    await lab.faults(platform, {"kind": kind, "times": 1})
    reply = await lab.post(platform, [lab.event(platform)])
    assert (reply.status_code, dig(reply.json(), path)) == (status, value)
    row = await lab.last_request(platform)
    assert (row["status"], row["fault"], row["accepted"]) == (status, kind, 0)
    assert (await lab.counted(platform))["events"] == 0
    after = await lab.post(platform, [lab.event(platform)])
    assert after.status_code == 200
    assert (await lab.counted(platform))["events"] == 1


async def test_options_of_an_answer(wire: Any) -> None:
    await wire.faults(
        "meta",
        {"kind": "429", "retry_after_s": 7, "status": 400, "code": 80004, "subcode": 2446079},
        {"kind": "500", "status": 503, "headers": {"X-Why": "tests"}},
    )
    await wire.faults("pinterest", {"kind": "500", "status": 503})
    ramped_down = await wire.post("pinterest", [wire.event("pinterest")])
    assert (ramped_down.status_code, ramped_down.json()["code"]) == (503, 4197)
    throttled = await wire.post("meta", [wire.event("meta")])
    assert (throttled.status_code, throttled.headers["retry-after"]) == (400, "7")
    assert (throttled.json()["error"]["code"], throttled.json()["error"]["error_subcode"]) == (80004, 2446079)
    down = await wire.post("meta", [wire.event("meta")])
    assert (down.status_code, down.headers["x-why"]) == (503, "tests")
    assert "retry-after" not in down.headers


@pytest.mark.parametrize(
    ("kind", "error", "counted"),
    [
        ("reset", httpx.ReadError, 0),
        ("down", httpx.RemoteProtocolError, 0),
        ("lost_answer", httpx.RemoteProtocolError, 1),
        ("half_body", httpx.RemoteProtocolError, 1),
    ],
)
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_dropped_connections(wire: Any, platform: str, kind: str, error: type[Exception], counted: int) -> None:
    await wire.faults(platform, {"kind": kind, "times": 1})
    with pytest.raises(error):
        await wire.post(platform, [wire.event(platform)])
    row = await wire.last_request(platform)
    assert (row["fault"], row["accepted"]) == (kind, counted)
    assert (await wire.counted(platform))["events"] == counted
    assert (await wire.post(platform, [wire.event(platform)])).status_code == 200
    after = await wire.counted(platform)
    assert (after["events"], after["conversions"][0]["copies"]) == (1, 1 + counted)


async def test_down_lasts_until_it_is_deleted(wire: Any) -> None:
    await wire.faults("snapchat", {"kind": "down"})
    for _ in range(3):
        with pytest.raises(httpx.RemoteProtocolError):
            await wire.post("snapchat", [wire.event("snapchat")])
    assert (await wire.post("meta", [wire.event("meta")])).status_code == 200
    await wire.client.delete("/_faults/snapchat")
    assert (await wire.post("snapchat", [wire.event("snapchat")])).status_code == 200


@pytest.mark.parametrize(("process", "counted"), [(False, 0), (True, 1)])
async def test_a_hanging_request_ends_when_the_client_leaves(wire: Any, process: bool, counted: int) -> None:
    await wire.faults("tiktok", {"kind": "hang", "process": process})
    with anyio.move_on_after(0.3) as scope:
        await wire.post("tiktok", [wire.event("tiktok")])
    assert scope.cancelled_caught
    with anyio.fail_after(5):
        while "none" not in (await wire.get("/_requests"))["totals"]["tiktok"]["statuses"]:
            await anyio.sleep(0.01)
    assert (await wire.counted("tiktok"))["events"] == counted


async def test_a_hanging_request_is_bounded(wire: Any) -> None:
    await wire.faults("tiktok", {"kind": "hang", "max_s": 0.1})
    with pytest.raises(httpx.RemoteProtocolError):
        await wire.post("tiktok", [wire.event("tiktok")])


async def test_a_slow_answer_is_a_good_one(wire: Any) -> None:
    await wire.faults("pinterest", {"kind": "slow", "delay_s": 0.2})
    started = time.monotonic()
    reply = await wire.post("pinterest", [wire.event("pinterest")])
    assert time.monotonic() - started >= 0.2
    assert reply.json()["num_events_processed"] == 1


async def test_a_slow_request_is_processed_though_the_client_left(wire: Any) -> None:
    await wire.faults("pinterest", {"kind": "slow", "delay_s": 60})
    with anyio.move_on_after(0.3):
        await wire.post("pinterest", [wire.event("pinterest")])
    with anyio.fail_after(5):
        while not (await wire.counted("pinterest"))["events"]:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("status", [200, 502])
async def test_html(wire: Any, status: int) -> None:
    await wire.faults("meta", {"kind": "html", "status": status})
    reply = await wire.post("meta", [wire.event("meta")])
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith("text/html")
    with pytest.raises(json.JSONDecodeError):
        reply.json()
    assert (await wire.counted("meta"))["events"] == 0


async def test_a_share_of_a_pinterest_batch_fails(lab: Any) -> None:
    events = [lab.event("pinterest", {"event_id": f"e{n}"}) for n in range(10)]
    await lab.faults(
        "pinterest",
        {"kind": "partial", "share": 0.3},
        {"kind": "partial", "indexes": [0, 9, 44]},
        {"kind": "partial", "match": {"event_id": "e4"}, "status": 422},
    )
    shared = (await lab.post("pinterest", events)).json()
    assert [event["status"] for event in shared["events"]].count("failed") == 3
    assert (await lab.get("/_received"))["matched"] == 7
    named = (await lab.post("pinterest", events)).json()
    assert [n for n, event in enumerate(named["events"]) if event["status"] == "failed"] == [0, 9]
    reply = await lab.post("pinterest", events)
    assert (reply.status_code, reply.json()["code"]) == (422, 953)
    details = reply.json()["details"]
    assert [n for n, event in enumerate(details["events"]) if event["status"] == "failed"] == [4]
    assert details["num_events_processed"] == 9


async def test_a_script_is_followed_in_order(lab: Any) -> None:
    await lab.faults("meta", {"kind": "429"}, {"kind": "500", "times": 2}, {"kind": "ok"}, {"kind": "partial"})
    statuses = [(await lab.post("meta", [lab.event("meta")])).status_code for _ in range(6)]
    assert statuses == [429, 500, 500, 200, 400, 200]


async def test_a_match_picks_requests(lab: Any) -> None:
    await lab.faults(
        "tiktok",
        {"kind": "500", "times": None, "match": {"event_name": "Lead", "event_id": "x"}},
        {"kind": "dead_token", "match": {"token": "old"}},
    )
    assert (await lab.post("tiktok", [lab.event("tiktok")])).status_code == 200
    near = [lab.event("tiktok", {"event": "Lead"}), lab.event("tiktok", {"event_id": "x"})]
    assert (await lab.post("tiktok", near)).status_code == 200
    hit = [lab.event("tiktok"), lab.event("tiktok", {"event": "Lead", "event_id": "x"})]
    assert (await lab.post("tiktok", hit)).status_code == 500
    body = lab.root("tiktok", [lab.event("tiktok")])
    for token, status in [("old", 401), ("new", 200)]:
        reply = await lab.client.post(lab.paths["tiktok"], json=body, headers={"access-token": token})
        assert reply.status_code == status


async def test_probability_is_seeded(lab: Any) -> None:
    async def run(seed: int) -> list[int]:
        await lab.faults("meta", {"kind": "500", "times": None, "probability": 0.5}, seed=seed)
        return [(await lab.post("meta", [lab.event("meta")])).status_code for _ in range(30)]

    first = await run(1)
    assert set(first) == {200, 500}
    assert first == await run(1)
    assert first != await run(2)


async def test_in_process_a_dropped_connection_is_an_exception(lab: Any) -> None:
    await lab.faults("meta", {"kind": "lost_answer"})
    with pytest.raises(ConnectionError):
        await lab.post("meta", [lab.event("meta")])
    assert (await lab.counted("meta"))["events"] == 1


async def test_the_command_line_writes_its_port(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "app.sandbox", "--port", "0", "--port-file", str(port_file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = f"http://127.0.0.1:{port_file.read_text().strip()}"
        assert line == f"sandbox listening on {url}\n"
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            assert (await client.get("/")).json()["name"] == "Convey sandbox"
    finally:
        process.terminate()
        process.communicate(timeout=10)
