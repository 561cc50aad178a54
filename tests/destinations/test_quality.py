"""What Meta and Pinterest are asked about quality: against the sandbox over HTTP, and answers by their pages."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.destinations.base import Measure, Reading
from app.destinations.registry import destinations
from app.errors import Reason
from app.model import HttpCall, HttpReply, Retry
from app.sandbox.server import SandboxServer
from tests.sandbox.conftest import ACCOUNTS, EVENTS, HEADERS, NOW, PATHS

OWN = {"meta": {"pixel_id": ACCOUNTS["meta"]}, "pinterest": {"ad_account_id": ACCOUNTS["pinterest"]}}


@pytest.fixture
def sandbox() -> Iterator[httpx.Client]:
    with SandboxServer() as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        client.put("/_clock", json={"now": NOW})
        yield client


def asked(kind: str, **over: Any) -> HttpCall:
    """What a destination of this kind asks."""
    destination = destinations()[kind]
    assert destination.quality is not None
    return destination.quality.ask(destination.settings(**{**OWN[kind], "access_token": "good", **over}))


def answered(sandbox: httpx.Client, kind: str, **over: Any) -> Any:
    """What the sandbox's answer to it is read as."""
    call = asked(kind, **over)
    url = urlsplit(call.url)
    reply = sandbox.get(f"{url.path}?{url.query}", headers=dict(call.secret_headers))
    return read(kind, reply.status_code, reply.content)


def read(kind: str, status: int, body: Any, **headers: str) -> Any:
    quality = destinations()[kind].quality
    assert quality is not None
    return quality.read(HttpReply(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()))


def post(sandbox: httpx.Client, kind: str, number: int, *without: str) -> None:
    """One server event, without these identifiers."""
    event = copy.deepcopy(EVENTS[kind])
    event["event_id"] = f"purchase_{number}"
    event["custom_data"]["order_id"] = str(number)
    for key in without:
        event["user_data"].pop(key)
    answer = sandbox.post(PATHS[kind], json={"data": [event]}, headers=HEADERS[kind])
    assert answer.status_code == 200, answer.text


def fire(sandbox: httpx.Client, kind: str, number: int) -> None:
    """The pixel's copy of one."""
    name = EVENTS[kind]["event_name"]
    body = {"platform": kind, "account": ACCOUNTS[kind], "event_name": name, "event_id": f"purchase_{number}"}
    assert sandbox.post("/_pixel", json=body).status_code == 200


@pytest.mark.parametrize("kind", ["meta", "pinterest"])
def test_coverage_and_pairing_come_back_as_shares(sandbox: httpx.Client, kind: str) -> None:
    post(sandbox, kind, 1)
    post(sandbox, kind, 2, "em")
    post(sandbox, kind, 3)
    post(sandbox, kind, 4, "em")
    for number in (1, 2, 90):
        fire(sandbox, kind, number)
    readings = answered(sandbox, kind)
    email, event_id = ("email", "event_id") if kind == "meta" else ("hashed_email", "external_event_id")
    assert Reading(Measure.KEY_COVERAGE, 0.5, "Purchase", email) in readings
    (pairing,) = [each for each in readings if each.measure is Measure.DEDUP_COVERAGE and each.key == event_id]
    assert pairing.value == pytest.approx(2 / 3, abs=0.001)
    if kind == "meta":
        (score,) = [each for each in readings if each.measure is Measure.MATCH_QUALITY]
        assert score.event_name == "Purchase"
        assert 0 < score.value < 10
        (covered,) = [each for each in readings if each.measure is Measure.EVENT_COVERAGE]
        assert covered.value == pytest.approx(4 / 3, abs=0.001)
    else:
        assert Reading(Measure.STATUS, 1.0, key="fair") in readings


@pytest.mark.parametrize("kind", ["meta", "pinterest"])
def test_nothing_sent_is_nothing_said_and_a_bad_token_is_no_opinion(sandbox: httpx.Client, kind: str) -> None:
    assert answered(sandbox, kind) == []
    refused = answered(sandbox, kind, quality_token="DEAD-token")
    assert isinstance(refused, Retry)
    assert refused.detail
    assert "DEAD" not in refused.detail


def test_questions_are_those_of_the_pages_and_show_no_token() -> None:
    meta = urlsplit(asked("meta", partner_agent="convey-gw").url)
    assert meta.path == "/v26.0/dataset_quality"
    query = parse_qs(meta.query)
    assert (query["dataset_id"], query["agent_name"]) == ([ACCOUNTS["meta"]], ["convey-gw"])
    assert query["fields"][0].startswith("web{event_name,")
    pinterest = asked("pinterest", quality_token="another")
    assert urlsplit(pinterest.url).path == f"/v5/ad_accounts/{ACCOUNTS['pinterest']}/conversion_eqs"
    assert parse_qs(urlsplit(pinterest.url).query)["lookback_period"] == ["14d"]
    assert pinterest.secret_headers["authorization"] == "Bearer another"
    assert "another" not in repr(pinterest)
    in_query = asked("meta", token_in_query=True, quality_token="another")
    assert in_query.secret_params["access_token"] == "another"
    assert "another" not in in_query.url


def test_metas_answer_by_its_example() -> None:
    row = {
        "event_name": "Purchase",
        "event_match_quality": {
            "composite_score": 6.2,
            "match_key_feedback": [
                {"identifier": "user_agent", "coverage": {"percentage": 100}},
                {"identifier": "not a name", "coverage": {"percentage": 100}},
                {"identifier": "email", "coverage": {"percentage": "many"}},
                "odd",
            ],
        },
        "event_coverage": {"percentage": 81.5, "goal_percentage": 75},
        "dedup_key_feedback": [{"dedupe_key": "fbp", "overall_browser_coverage_from_dedupe_key": {"percentage": 12.5}}],
    }
    own = {"event_name": "MyEvent", "event_match_quality": {"composite_score": 9}}
    assert read("meta", 200, {"web": [row, own, None]}) == [
        Reading(Measure.MATCH_QUALITY, 6.2, "Purchase"),
        Reading(Measure.EVENT_COVERAGE, 0.815, "Purchase"),
        Reading(Measure.KEY_COVERAGE, 1.0, "Purchase", "user_agent"),
        Reading(Measure.DEDUP_COVERAGE, 0.125, "Purchase", "fbp"),
    ]


def test_of_pinterests_rows_the_webs_is_read() -> None:
    def row(platform: str, status: str, coverage: float) -> dict[str, Any]:
        components = {"hashed_email": {"checkout": {"coverage": coverage, "overlap": None}, "odd": {"coverage": 1}}}
        return {"source_platform": platform, "overall_status": status, "quality_components": components | {"x": 1}}

    rows = [row("OFFLINE", "GOOD", 90), row("WEB", "UNHEARD_OF", 40)]
    assert read("pinterest", 200, rows) == read("pinterest", 200, {"items": rows})
    assert read("pinterest", 200, rows) == [
        Reading(Measure.STATUS, 1.0, key="other"),
        Reading(Measure.KEY_COVERAGE, 0.4, "Purchase", "hashed_email"),
    ]


@pytest.mark.parametrize("kind", ["meta", "pinterest"])
@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"{}"), (200, b"7"), (503, b"[]"), (500, b'{"web": []}')]
)
def test_what_is_no_answer_is_asked_again(kind: str, status: int, body: bytes) -> None:
    told = read(kind, status, body, **{"retry-after": "90"})
    assert isinstance(told, Retry)
    assert told.reason is Reason.PLATFORM_ERROR
    assert told.after is not None
    assert told.after.total_seconds() == 90
