"""The control endpoints, and what is noted of requests that nobody should make."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from app.sandbox import create_sandbox

pytestmark = pytest.mark.anyio
PLATFORMS = ("meta", "tiktok", "pinterest", "snapchat")


async def test_the_index_lists_what_exists(lab: Any) -> None:
    index = await lab.get("/")
    assert set(index["platforms"]) == {*PLATFORMS, "google"}
    assert "lost_answer" in index["faults"]


async def test_received_is_filtered_and_limited(lab: Any) -> None:
    events = [lab.event("meta", {"event_id": f"e{n}", "custom_data.order_id": f"o{n % 2}"}) for n in range(6)]
    await lab.post("meta", events)
    await lab.post("tiktok", [lab.event("tiktok", {"event_id": "e1"})])
    assert [e["platform"] for e in (await lab.get("/_received", event_id="e1"))["events"]] == [
        "meta",
        "tiktok",
    ]
    assert (await lab.get("/_received", order_id="o1"))["matched"] == 3
    last = await lab.get("/_received", platform="meta", limit="2", bodies="false")
    assert [event["event_id"] for event in last["events"]] == ["e4", "e5"]
    assert (last["matched"], last["total"]) == (6, 7)
    assert "event" not in last["events"][0]
    assert last["events"][0]["trace_id"]


async def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    transport = httpx.ASGITransport(app=create_sandbox(keep_events=3))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        event = {
            "event_name": "PAGE_VIEW",
            "event_time": int(time.time()),
            "action_source": "OFFLINE",
            "user_data": {"em": ["a" * 64]},
        }
        data = [{**event, "event_id": str(n)} for n in range(5)]
        reply = await client.post("/v3/a/events?access_token=t", json={"data": data})
        assert reply.status_code == 200
        received = (await client.get("/_received")).json()
        counted = (await client.get("/_counted?platform=snapchat")).json()["platforms"]["snapchat"]
    assert [e["event_id"] for e in received["events"]] == ["2", "3", "4"]
    assert (received["total"], received["dropped"]) == (5, 2)
    assert (counted["events"], counted["forgotten"], len(counted["conversions"])) == (5, 2, 3)


async def test_a_body_over_the_limit_is_refused_in_each_platforms_style() -> None:
    transport = httpx.ASGITransport(app=create_sandbox(max_body_bytes=100))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        for path, key in [
            ("/v26.0/1/events", "error"),
            ("/open_api/v1.3/event/track/", "code"),
            ("/v5/ad_accounts/1/events", "code"),
            ("/v3/a/events", "status"),
        ]:
            reply = await client.post(path, content=b" " * 101)
            assert reply.status_code == 413
            assert key in reply.json()
            within = await client.post(path, content=b" " * 100)
            assert within.status_code != 413


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"data": [1]}', b'{"data": [{"event": NaN}]}'])
async def test_a_body_that_is_no_batch_is_refused(lab: Any, platform: str, body: bytes) -> None:
    params = {"access_token": "t"} if platform == "snapchat" else {}
    path, headers = lab.paths[platform], lab.headers[platform]
    reply = await lab.client.post(path, content=body, params=params, headers=headers)
    assert reply.status_code == (200 if platform == "tiktok" else 400)
    assert platform != "tiktok" or reply.json()["code"] == 40002


@pytest.mark.parametrize(
    ("method", "path", "platform", "key"),
    [
        ("GET", "/v26.0/123/events", "meta", "error"),
        ("POST", "/v26.0/abc/events", "meta", "error"),
        ("POST", "/123/events", "meta", "error"),
        ("POST", "/open_api/v1.2/pixel/track/", "tiktok", "request_id"),
        ("POST", "/v5/oauth/token", "pinterest", "code"),
        ("POST", "/v3/conversion", "snapchat", "reason"),
        ("GET", "/v3/a/events", "snapchat", "reason"),
        ("POST", "/v2/conversion", "other", "error"),
        ("POST", "/_nothing", "other", "error"),
    ],
)
async def test_unknown_paths_are_answered_and_noted(lab: Any, method: str, path: str, platform: str, key: str) -> None:
    reply = await lab.client.request(method, path)
    assert reply.status_code == 404
    assert key in reply.json()
    seen = await lab.get("/_requests", unexpected="true")
    assert [(row["path"], row["unexpected"]) for row in seen["requests"]] == [(path, True)]
    assert seen["totals"][platform]["unexpected"] == 1


async def test_the_index_of_the_bad_event_is_named_where_it_is_asked_for() -> None:
    app = create_sandbox(blame_index=PLATFORMS)
    transport = httpx.ASGITransport(app=app)
    body = {"event_source": "web", "event_source_id": "C1", "data": [1]}
    named = {
        "/v26.0/1/events": "$['data'][0].",
        "/open_api/v1.3/event/track/": "Batch.0.",
        "/v5/ad_accounts/1/events": "data[0].",
        "/v3/a/events": '"event":1',
    }
    headers = {"authorization": "Bearer t", "access-token": "t"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as client:
        for path, name in named.items():
            only_data = body if "open_api" in path else {"data": [1]}
            reply = await client.post(path, json=only_data, params={"access_token": "t"})
            assert name in reply.text


async def test_requests_and_totals(lab: Any) -> None:
    await lab.post("meta", [lab.event("meta"), lab.event("meta")])
    await lab.post("meta", [{}])
    await lab.post("pinterest", [lab.event("pinterest")])
    seen = await lab.get("/_requests", platform="meta")
    rows = [(row["status"], row["events"], row["accepted"], row["fault"]) for row in seen["requests"]]
    assert rows == [(200, 2, 2, None), (400, 1, 0, None)]
    assert seen["requests"][0]["at"] == lab.now
    assert seen["totals"]["meta"] == {
        "requests": 2,
        "events": 3,
        "accepted": 2,
        "unexpected": 0,
        "statuses": {"200": 1, "400": 1},
        "faults": {},
    }
    assert len((await lab.get("/_requests", limit="1"))["requests"]) == 1


async def test_no_token_is_kept(lab: Any) -> None:
    event = lab.event("snapchat")
    await lab.client.post("/v3/a/events?access_token=very-secret", json={"data": [event]})
    assert "very-secret" not in str(await lab.get("/_requests")) + str(await lab.get("/_received"))


async def test_the_clock(lab: Any) -> None:
    frozen = await lab.get("/_clock")
    assert frozen == {"now": lab.now, "offset_s": 0, "effective": lab.now}
    await lab.client.put("/_clock", json={"offset_s": 3600})
    moved = await lab.get("/_clock")
    assert moved["now"] is None
    assert abs(moved["effective"] - time.time() - 3600) < 60


async def test_state_is_cleared_but_for_the_faults(lab: Any) -> None:
    await lab.faults("meta", {"kind": "500", "times": 3})
    await lab.post("meta", [lab.event("meta")])
    await lab.post("tiktok", [lab.event("tiktok")])
    assert (await lab.client.delete("/_state")).status_code == 200
    assert (await lab.get("/_received"))["total"] == 0
    assert (await lab.counted("tiktok"))["events"] == 0
    assert (await lab.get("/_requests")) == {"totals": {}, "requests": []}
    assert (await lab.get("/_clock"))["now"] is None
    assert (await lab.get("/_faults/meta"))["faults"] == [{"kind": "500", "left": 2, "used": 1}]
    await lab.client.delete("/_state", params={"faults": "true"})
    assert (await lab.get("/_faults"))["platforms"]["meta"] == []


async def test_pixel_events_come_alone_or_together(lab: Any) -> None:
    event = {"platform": "tiktok", "account": "C1", "event_name": "Lead", "event_id": "x"}
    reply = await lab.client.post("/_pixel", json={"events": [event, event, {**event, "platform": "meta"}]})
    assert reply.json() == {"counted": [True, False, True]}
    assert (await lab.counted("tiktok"))["conversions"][0]["sources"] == ["pixel"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/_pixel", {"platform": "myspace", "account": "1", "event_name": "Lead"}),
        ("POST", "/_pixel", {"platform": "meta", "account": "1"}),
        ("POST", "/_pixel", {"platform": "meta", "account": "1", "event_name": "Lead", "eventID": "x"}),
        ("POST", "/_pixel", {"platform": "meta", "account": "1", "event_name": "Lead", "value": "ten"}),
        ("PUT", "/_clock", {"now": "noon"}),
        ("PUT", "/_clock", {"later": 1}),
        ("PUT", "/_clock", None),
        ("PUT", "/_faults/meta", []),
        ("PUT", "/_faults/myspace", {"faults": []}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "418"}]}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "500", "times": 0}]}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "500", "probability": 2}]}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "500", "delay_s": 1}]}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "hang", "max_s": 121}]}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "500", "match": {"name": "x"}}]}),
        ("PUT", "/_faults/meta", {"faults": [{"kind": "500", "headers": {"a": "b\n"}}]}),
        ("PUT", "/_faults/meta", {"faults": [], "sed": 1}),
        ("GET", "/_received?platform=myspace", None),
        ("GET", "/_received?eventid=1", None),
        ("GET", "/_received?limit=all", None),
        ("GET", "/_counted?summary=1", None),
    ],
)
async def test_a_control_request_that_makes_no_sense_is_refused(lab: Any, method: str, path: str, body: Any) -> None:
    reply = await lab.client.request(method, path, json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]
