"""What the service says of events, of the ledger and of itself."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
from prometheus_client import generate_latest

from app.api.guards import trace_id_of
from app.api.health import STALE_AFTER_S, Health
from app.errors import StoreFull, StoreUnavailable
from app.logs import JsonFormatter
from app.main import create_app, create_metrics_app
from app.model import Accepted, Plan
from app.outbox.port import LEDGER_STATES
from app.runtime import Runtime
from app.sandbox.server import SandboxServer
from tests.api.support import (
    CANARIES,
    DESTINATIONS,
    KEY,
    MARK,
    PERMITTED,
    POSTER,
    READER,
    Service,
    assert_silent,
    bearer,
    good,
    open_service,
    settings_for,
    unused_url,
)
from tests.delivery.support import until
from tests.factories import FrozenClock

pytestmark = pytest.mark.anyio


# --- an event, afterwards -----------------------------------------------------------------------------------------


async def test_a_bare_event_gets_one_result(service: Service) -> None:
    answer = await service.post(good())
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    (result,) = answer.json()["results"]
    assert set(result) == {"index", "event_id", "status", "destinations", "warnings", "errors"}
    assert (result["index"], result["event_id"], result["status"], result["errors"]) == (
        0,
        "purchase_ORD-1",
        "accepted",
        [],
    )
    assert result["destinations"] == {name: {"outcome": "queued", "limited": False} for name in DESTINATIONS}


async def test_denied_everywhere_is_accepted_and_nothing_is_queued(service: Service) -> None:
    event = good(consent={"ad_storage": True, "ad_user_data": False, "ad_personalization": True})
    answer = await service.post(event)
    (result,) = answer.json()["results"]
    assert (answer.status_code, result["status"]) == (202, "accepted")
    denied = {"outcome": "denied", "reason": "consent_purpose_missing", "reason_detail": "CM_DENIED"}
    assert result["destinations"] == dict.fromkeys(DESTINATIONS, denied)
    state = await service.state(result["event_id"])
    assert {(each["outcome"], each["reason"]) for each in state["destinations"].values()} == {
        ("denied", "consent_purpose_missing")
    }
    ledger = (await service.client.get("/v1/ledger")).json()["destinations"]
    assert {account["queued"] for account in ledger.values()} == {0}


async def test_a_repeat_is_a_duplicate_and_another_order_under_its_id_a_conflict(service: Service) -> None:
    await service.post(good(event_id="own-1"))
    repeat = (await service.post(good(event_id="own-1"))).json()["results"][0]
    assert (repeat["status"], set(repeat["destinations"])) == ("duplicate", set(DESTINATIONS))
    clash = (await service.post(good(2, event_id="own-1"))).json()["results"][0]
    assert (clash["status"], clash["event_id"], clash["destinations"]) == ("conflict", "own-1", {})


async def test_what_became_of_an_event(tmp_path: Path, sandbox: SandboxServer, clock: FrozenClock) -> None:
    async with open_service(tmp_path, sandbox.url, clock) as service:
        sent = (await service.post(good())).json()["results"][0]

        async def delivered() -> bool:
            state = await service.state(sent["event_id"])
            return {each["outcome"] for each in state["destinations"].values()} == {"delivered"}

        await until(delivered)
        state = await service.state(sent["event_id"])
        assert {key: state[key] for key in ("event_id", "event_name", "source", "transaction_id")} == {
            "event_id": "purchase_ORD-1",
            "event_name": "Purchase",
            "source": "shop",
            "transaction_id": "ORD-1",
        }
        for each in state["destinations"].values():
            assert set(each) == {
                "outcome",
                "reason",
                "reason_detail",
                "attempts",
                "trace_id",
                "limited",
                "held_until",
                "rejected_after_acceptance",
            }
            assert (each["reason"], each["attempts"]) == (None, 1)
        repeat = (await service.post(good())).json()["results"][0]
        assert repeat["status"] == "duplicate"
        assert {each["outcome"] for each in repeat["destinations"].values()} == {"delivered"}
        ledger = (await service.client.get("/v1/ledger")).json()["destinations"]
        assert {(each["queued"], each["delivered"], each["pending"]) for each in ledger.values()} == {(1, 1, 0)}


async def test_a_pending_event_is_queued_and_then_retrying(tmp_path: Path, clock: FrozenClock) -> None:
    async with open_service(tmp_path, unused_url(), clock) as service:
        sent = (await service.post(good())).json()["results"][0]

        async def retrying() -> bool:
            state = await service.state(sent["event_id"])
            outcomes = {each["outcome"] for each in state["destinations"].values()}
            assert outcomes <= {"queued", "retrying"}
            return outcomes == {"retrying"}

        await until(retrying)
        state = await service.state(sent["event_id"])
        assert {(each["reason"], each["attempts"]) for each in state["destinations"].values()} == {("network", 1)}
        repeat = (await service.post(good())).json()["results"][0]
        assert repeat["status"] == "duplicate"
        assert {(each["outcome"], each["reason"]) for each in repeat["destinations"].values()} == {
            ("retrying", "network")
        }


async def test_an_event_of_several_names_under_one_id(service: Service) -> None:
    await service.post({"events": [good(event_id="own-1"), good(event_name="Lead", event_id="own-1")]})
    for name in ("Purchase", "Lead"):
        answer = await service.client.get("/v1/events/own-1", params={"event_name": name})
        assert answer.json()["event_name"] == name
    missing = await service.client.get("/v1/events/own-1", params={"event_name": "Search"})
    assert missing.status_code == 404


@pytest.mark.parametrize("transaction", ["2026/00123", "A?B", "A#B", "A B", "Ä-1", "100%"])
async def test_an_event_is_found_by_the_id_that_was_given_for_it(service: Service, transaction: str) -> None:
    sent = (await service.post(good(transaction_id=transaction))).json()["results"][0]
    answer = await service.client.get(f"/v1/events/{quote(sent['event_id'], safe='')}")
    assert answer.status_code == 200
    assert answer.json()["event_id"] == sent["event_id"]


# --- the ledger ---------------------------------------------------------------------------------------------------

TERMS = ("queued", "delivered", "dead", "expired", "withdrawn", "erased", "pending")


async def test_the_ledger_has_seven_terms_and_money_as_decimal_text(service: Service) -> None:
    empty = (await service.client.get("/v1/ledger")).json()
    assert empty == {"destinations": {name: {**dict.fromkeys(TERMS, 0), "money": {}} for name in DESTINATIONS}}
    euros = {"currency": "eur", "value": 0.1}
    await service.post({"events": [good(1), good(2), good(3, custom_data=euros), good(4, custom_data=euros)]})
    ledger = (await service.client.get("/v1/ledger")).json()["destinations"]
    account = ledger["meta"]
    assert list(account) == [*TERMS, "money"]
    assert (account["queued"], account["pending"]) == (4, 4)
    assert set(account["money"]) == {"USD", "EUR"}
    assert account["money"]["USD"]["queued"] == "20.00"
    assert account["money"]["EUR"]["pending"] == "0.20"
    for terms in (account, *account["money"].values()):
        assert float(terms["queued"]) == pytest.approx(sum(float(terms[state]) for state in LEDGER_STATES))


@pytest.mark.parametrize(
    ("value", "told"),
    [("1e5", "100000.00"), ("0", "0.00"), ("0.000001", "0.000001"), ("-0", "0.00"), ("0.10500", "0.105")],
)
async def test_amounts_in_the_ledger_are_plain(service: Service, value: Any, told: str) -> None:
    assert (await service.post(good(custom_data={"currency": "USD", "value": value}))).status_code == 202
    ledger = (await service.client.get("/v1/ledger")).json()["destinations"]
    assert ledger["tiktok"]["money"]["USD"]["queued"] == told


# --- probes -------------------------------------------------------------------------------------------------------


async def test_livez_and_readyz_need_no_key(service: Service) -> None:
    del service.client.headers["authorization"]
    service.runtime.health.report(None)
    assert (await service.client.get("/livez")).json() == {"status": "ok"}
    assert (await service.client.get("/readyz")).json() == {"status": "ready"}


async def test_readyz_follows_the_store(service: Service) -> None:
    health = service.runtime.health
    health.report("the disk is full")
    del service.client.headers["authorization"]
    answer = await service.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unready", "reason": "the disk is full"})
    assert (await service.client.get("/livez")).status_code == 200
    health.report(None)
    assert (await service.client.get("/readyz")).status_code == 200


async def test_readyz_becomes_ready_by_itself(service: Service) -> None:
    async def ready() -> bool:
        return (await service.client.get("/readyz")).status_code == 200

    await until(ready)


async def test_probes_tell_more_to_a_key_that_may_read(service: Service) -> None:
    service.runtime.health.report(None)
    for path in ("/livez", "/readyz"):
        details = (await service.client.get(path, headers=bearer(READER))).json()["details"]
        assert set(details) == {"checked_s_ago", "stalled", "lanes", "test_mode"}
        assert details["test_mode"] == []
        assert (await service.client.get(path, headers=bearer(POSTER))).status_code == 403
        assert (await service.client.get(path, headers=bearer("ck_nobody"))).status_code == 401


async def test_what_runs_shows_its_test_modes_and_when_its_api_versions_end(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, unused_url(), None)
    lanes = [
        replace(lane, settings=lane.settings.model_copy(update={"test_event_code": "TEST1"}))
        if lane.name == "meta"
        else lane
        for lane in settings.destinations
    ]
    async with Runtime.open(replace(settings, destinations=tuple(lanes)), now=FrozenClock().now) as runtime:
        assert runtime.health.details()["test_mode"] == ["meta"]
        text = generate_latest(runtime.metrics.registry).decode()
    ends = [line for line in text.splitlines() if line.startswith("convey_api_sunset_timestamp_seconds{")]
    assert ends == ['convey_api_sunset_timestamp_seconds{destination="meta",version="v26.0"} 1.8168192e+09']


class Seconds:
    """A monotonic clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_health_starts_unready_and_a_check_grows_old() -> None:
    clock = Seconds()
    health = Health(clock)
    assert health.unready_reason() == "starting"
    assert health.report(None)
    assert not health.report(None)
    assert health.unready_reason() is None
    clock.now += STALE_AFTER_S
    assert health.unready_reason() is None
    clock.now += 0.1
    assert health.unready_reason() == "the last check is too old"
    assert health.report("down")
    assert not health.report("still down")
    assert health.unready_reason() == "still down"
    clock.now += 1000
    assert health.unready_reason() == "still down"
    assert health.report(None)


def test_a_lane_that_never_went_round_stalls_too() -> None:
    clock = Seconds()
    health = Health(clock)
    health.expect(["meta"])
    clock.now += 60.1
    assert health.stalled_lanes() == ["meta"]


def test_a_lane_stalls_when_it_has_not_gone_round_for_a_minute() -> None:
    clock = Seconds()
    health = Health(clock)
    assert health.stalled_lanes() == []
    health.progressed("meta")
    clock.now += 30
    health.progressed("tiktok")
    clock.now += 30
    assert health.stalled_lanes() == []
    clock.now += 0.1
    assert health.stalled_lanes() == ["meta"]
    health.progressed("meta")
    assert health.stalled_lanes() == []


async def test_livez_names_a_stalled_lane(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.runtime.health, "stalled_lanes", lambda: ["meta"])
    del service.client.headers["authorization"]
    answer = await service.client.get("/livez")
    assert (answer.status_code, answer.json()) == (503, {"status": "stalled", "lanes": ["meta"]})


# --- faults of ours -----------------------------------------------------------------------------------------------


class BrokenOutbox:
    """An outbox that takes nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def accept(self, plans: list[Plan]) -> list[Accepted]:
        raise self.error

    async def ledger(self) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [StoreUnavailable(f"{MARK} disk"), StoreFull(f"{MARK} disk")])
async def test_a_store_that_cannot_keep_is_503_and_says_when_to_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(service.runtime.ingest, "_outbox", BrokenOutbox(error))
    answer = await service.post({"events": [good(1), good(2, event_time=MARK)]})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["type"] == "urn:convey:problem:store_unavailable"
    assert MARK not in answer.text
    assert "results" not in answer.json()


async def test_a_crash_is_a_problem_body_without_its_cause(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service.app.state, "outbox", BrokenOutbox(ValueError(f"{MARK} inside")))
    answer = await service.client.get("/v1/ledger", headers={"x-request-id": "request-0001"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["type"], told["instance"]) == ("urn:convey:problem:internal_error", "request-0001")
    assert MARK not in answer.text
    failed = [record for record in caplog.records if record.getMessage() == "request.failed"]
    assert failed
    assert MARK not in JsonFormatter().format(failed[0])


async def test_the_request_id_comes_back_with_a_crash_as_well(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.app.state, "outbox", BrokenOutbox(ValueError("inside")))
    answer = await service.client.get("/v1/ledger", headers={"x-request-id": "request-0001"})
    assert answer.headers.get("x-request-id") == "request-0001"


# --- request ids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/v1/ledger"])
async def test_a_request_id_is_echoed(service: Service, path: str) -> None:
    answer = await service.client.get(path, headers={"x-request-id": "Abc.123_x-y"})
    assert answer.headers.get_list("x-request-id") == ["Abc.123_x-y"]


@pytest.mark.parametrize("sent", ["short", "x" * 65, "has space", "jane@mail.example", "ä" * 10, "line\tend1", ""])
async def test_a_request_id_that_is_none_is_replaced(service: Service, sent: str) -> None:
    headers = {b"x-request-id": sent.encode("latin-1")}
    answers = [await service.client.get("/livez", headers=headers) for _ in range(2)]
    given = {answer.headers["x-request-id"] for answer in answers}
    assert len(given) == 2
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in given)


# --- the description ----------------------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a description."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


async def test_the_description_is_whole(service: Service) -> None:
    answer = await service.client.get("/openapi.json")
    described = answer.json()
    assert described["openapi"].startswith("3.1")
    schemas = described["components"]["schemas"]
    for reference in references(described):
        assert reference.startswith("#/components/schemas/")
        assert reference.rsplit("/", 1)[1] in schemas, reference
    event = schemas["Event"]
    assert {"event_name", "event_time"} == set(event["required"])
    assert {"user", "consent", "custom_data", "app", "hold", "test"} <= set(event["properties"])
    assert schemas["EventBatch"]["properties"]["events"]["maxItems"] == 1000
    operations = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert sorted(operations) == sorted(set(operations))
    assert {"postEvents", "getEvent", "getLedger", "livez", "readyz"} <= set(operations)
    assert described["security"] == [{"key": []}]
    again = await service.client.get("/openapi.json")
    assert again.content == answer.content


async def test_every_example_in_the_description_posts(service: Service) -> None:
    described = (await service.client.get("/openapi.json")).json()
    content = described["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    answer = await service.post(content["example"])
    assert answer.status_code == 202
    (result,) = answer.json()["results"]
    assert result["status"] == "accepted"
    assert "queued" in {each["outcome"] for each in result["destinations"].values()}
    assert "unknown_field" not in {warning["code"] for warning in result["warnings"]}


async def test_answers_have_the_described_shape(service: Service) -> None:
    described = (await service.client.get("/openapi.json")).json()
    schemas = described["components"]["schemas"]
    result = (await service.post(good())).json()["results"][0]
    assert set(result) == set(schemas["ResultBody"]["properties"])
    state = await service.state(result["event_id"])
    assert set(state) == set(schemas["EventBody"]["properties"])
    assert set(state["destinations"]["meta"]) == set(schemas["DeliveryBody"]["properties"])
    ledger = (await service.client.get("/v1/ledger")).json()
    assert set(ledger["destinations"]["meta"]) == set(schemas["AccountBody"]["properties"])
    assert set(ledger["destinations"]["meta"]["money"]["USD"]) == set(schemas["MoneyBody"]["properties"])


async def test_the_docs_are_a_setting(tmp_path: Path, clock: FrozenClock, service: Service) -> None:
    shown = await service.client.get("/docs")
    assert shown.status_code == 200
    assert "text/html" in shown.headers["content-type"]
    folder = tmp_path / "undocumented"
    folder.mkdir()
    async with open_service(folder, unused_url(), clock, {"docs": False}) as quiet:
        for path in ("/docs", "/openapi.json", "/redoc"):
            assert (await quiet.client.get(path)).status_code == 404


# --- metrics ------------------------------------------------------------------------------------------------------


async def scrape(service: Service, **headers: str) -> httpx.Response:
    """What a scraper gets."""
    transport = httpx.ASGITransport(app=create_metrics_app(service.runtime.metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://convey.test") as client:
        return await client.get("/metrics", headers=headers)


async def test_metrics_in_both_texts(service: Service) -> None:
    await service.post({"events": [good(1), good(2, event_time=MARK), good(1)]})
    await service.client.get("/v1/events/purchase_ORD-1")
    await service.client.get(f"/{MARK}")
    await service.client.request("BREW", "/livez")

    classic = await scrape(service)
    assert classic.headers["content-type"].startswith("text/plain; version=")
    modern = await scrape(service, accept="application/openmetrics-text; version=1.0.0")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")
    assert "# EOF" not in classic.text
    for text in (classic.text, modern.text):
        assert MARK not in text
        assert "_created" not in text
        for line in (
            'convey_events_total{source="shop",status="accepted"} 1.0',
            'convey_events_total{source="shop",status="duplicate"} 1.0',
            'convey_events_total{source="shop",status="invalid"} 1.0',
            'convey_events_total{source="other",status="accepted"} 0.0',
            'convey_ingest_outcomes_total{destination="meta",outcome="queued",reason=""} 1.0',
            'convey_http_requests_total{code="2xx",method="POST",route="/v1/events"} 1.0',
            'convey_http_requests_total{code="2xx",method="GET",route="/v1/events/{event_id}"} 1.0',
            'convey_http_requests_total{code="4xx",method="GET",route="unmatched"} 1.0',
        ):
            assert line in text, line
        assert 'method="other"' in text
        assert "BREW" not in text


async def test_the_metrics_port_serves_metrics_only(service: Service) -> None:
    transport = httpx.ASGITransport(app=create_metrics_app(service.runtime.metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://convey.test") as client:
        assert (await client.get("/v1/ledger", headers=bearer(KEY))).status_code == 404


# --- logs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything the process logs, at DEBUG, as its lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


async def test_no_line_holds_what_was_sent(service: Service, lines: io.StringIO) -> None:
    own = {"event_id": "own-1", "transaction_id": "T-1", "occurrence": None}
    await service.post({"events": [{**PERMITTED, **own}, {**CANARIES, "event_time": MARK}, {MARK: MARK}]})
    await service.post({**CANARIES, "event_name": [MARK]})
    await service.post(f'{{"{MARK}": '.encode())
    await service.post(good(), headers=bearer(MARK))
    await service.client.get(f"/v1/events/{MARK}?source={MARK}")
    await service.client.get(f"/{MARK}?{MARK}={MARK}", headers={"x-request-id": f"{MARK} id", "cookie": MARK})

    async def attempted() -> bool:
        return "delivery.attempted" in lines.getvalue()

    await until(attempted)
    text = lines.getvalue()
    assert text.count('"event":"request"') == 6
    assert MARK not in text
    assert KEY not in text
    for raw in ("8675309", "555 2671", "tok-not-for-anyone"):
        assert raw not in text


async def test_one_line_per_request(service: Service, lines: io.StringIO) -> None:
    body = json.dumps({"events": [good(1), {}, good(2)]}).encode()
    await service.client.post("/v1/events", content=body, headers={"x-request-id": "request-0001"})
    (line,) = [json.loads(line) for line in lines.getvalue().splitlines() if '"request"' in line]
    assert line.pop("duration_ms") >= 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "convey.http",
        "event": "request",
        "request_id": "request-0001",
        "trace_id": None,
        "method": "POST",
        "route": "/v1/events",
        "code": 202,
        "problem": None,
        "source": "shop",
        "key_name": "shop-0",
        "events": 3,
        "accepted": 2,
        "invalid": 1,
        "queued": 8,
        "event_ids": ["purchase_ORD-1", "purchase_ORD-2"],
        "body_bytes": len(body),
    }


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f" 00-{TRACE}-00f067aa0ba902b7-00 ", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-brings", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (MARK, None),
        ("", None),
    ],
)
def test_a_traceparent_gives_its_trace_id_or_nothing(traceparent: str, trace_id: str | None) -> None:
    assert trace_id_of(traceparent) == trace_id


async def test_a_trace_is_in_the_line_and_an_exemplar_of_the_duration(service: Service, lines: io.StringIO) -> None:
    await service.post(good(), headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    (line,) = [json.loads(line) for line in lines.getvalue().splitlines() if '"request"' in line]
    assert line["trace_id"] == TRACE
    transport = httpx.ASGITransport(create_metrics_app(service.runtime.metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://metrics.test") as client:
        classic = (await client.get("/metrics")).text
        modern = (await client.get("/metrics", headers={"accept": "application/openmetrics-text"})).text
    assert TRACE not in classic
    assert f'# {{trace_id="{TRACE}"}}' in modern


async def test_leaks_are_counted_by_what_became_of_them(service: Service) -> None:
    stray = {"properties": {"note": "write to jane@example.com"}}
    await service.post(good(custom_data={"currency": "USD", "value": "1", **stray}))
    await service.post(good(2, custom_data={"order_id": "jane@example.com"}))

    def leaks(action: str) -> float | None:
        labels = {"source": "shop", "kind": "email", "action": action}
        return service.runtime.metrics.registry.get_sample_value("convey_leaks_total", labels)

    assert (leaks("redacted"), leaks("rejected"), leaks("reported")) == (1, 1, 0)


async def test_probes_are_logged_quietly(service: Service, lines: io.StringIO) -> None:
    await service.client.get("/livez")
    await service.client.get("/readyz")
    await service.client.get("/v1/ledger", headers=bearer(MARK))
    found = [json.loads(line) for line in lines.getvalue().splitlines() if '"event":"request"' in line]
    assert [(line["route"], line["level"], line["problem"]) for line in found] == [
        ("/livez", "debug", None),
        ("/readyz", "debug", None),
        ("/v1/ledger", "info", "unauthorized"),
    ]


async def test_the_description_is_made_for_each_application(service: Service) -> None:
    app = create_app(service.runtime)
    assert app.openapi() == service.app.openapi()
    assert app.openapi() is app.openapi()


async def test_a_clock_that_runs_fast_is_taken_as_now(service: Service) -> None:
    event = good(event_time=(service.clock.now() + timedelta(minutes=4)).isoformat())
    (result,) = (await service.post(event)).json()["results"]
    assert "event_time_ahead" in {warning["code"] for warning in result["warnings"]}
    assert {each["outcome"] for each in result["destinations"].values()} == {"queued"}


# --- the ledger's self-check ----------------------------------------------------------------------------------------


async def test_the_ledger_is_checked_when_asked(service: Service) -> None:
    await service.post(good())
    plain = (await service.client.get("/v1/ledger")).json()
    assert "check" not in plain
    answer = (await service.client.get("/v1/ledger", params={"check": "true"})).json()
    assert answer["check"] == {"deliveries": len(DESTINATIONS), "unread": 0, "differences": []}
    spoil(service)
    wrong = (await service.client.get("/v1/ledger", params={"check": "true"})).json()["check"]["differences"]
    assert wrong == [
        {"destination": "meta", "state": "pending", "currency": None, "counted": "3", "stored": "1"},
    ]


def spoil(service: Service) -> None:
    """Count two pending deliveries of the first lane that are not there."""
    with contextlib.closing(sqlite3.connect(service.folder / "convey.db", isolation_level=None, timeout=5)) as file:
        lane = "SELECT id FROM lanes WHERE name = 'meta'"
        file.execute(f"UPDATE counts SET deliveries = deliveries + 2 WHERE state = 'pending' AND lane = ({lane})")


async def test_the_worker_tells_of_a_ledger_that_is_wrong(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    await service.post(good())
    spoil(service)
    caplog.set_level(logging.ERROR, "convey.worker")
    worker = service.runtime._worker
    await worker.check()
    value = service.runtime.metrics.registry.get_sample_value
    assert value("convey_ledger_difference_deliveries", {"destination": "meta"}) == 2
    assert value("convey_ledger_difference_deliveries", {"destination": "tiktok"}) == 0
    (line,) = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert {name: line[name] for name in ("event", "destination", "state", "counted", "stored")} == {
        "event": "ledger.difference",
        "destination": "meta",
        "state": "pending",
        "counted": "3",
        "stored": "1",
    }
    with contextlib.closing(sqlite3.connect(service.folder / "convey.db", isolation_level=None, timeout=5)) as file:
        file.execute("UPDATE counts SET deliveries = 1 WHERE state = 'pending' AND deliveries = 3")
    await worker.check()
    assert value("convey_ledger_difference_deliveries", {"destination": "meta"}) == 0


async def test_bulk_events_wait_as_such(service: Service) -> None:
    assert (await service.post(good(1), params={"bulk": "true"})).status_code == 202
    assert (await service.post(good(2), params={"bulk": "false"})).status_code == 202
    with contextlib.closing(sqlite3.connect(service.folder / "convey.db", timeout=5)) as file:
        rows = file.execute(
            "SELECT e.event_id, q.bulk FROM deliveries AS d JOIN queues AS q ON q.id = d.queue "
            "JOIN events AS e ON e.id = d.event"
        ).fetchall()
    assert set(rows) == {("purchase_ORD-1", 1), ("purchase_ORD-2", 0)}
    wrong = await service.post(good(3), params={"bulk": MARK})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/bulk")
    assert_silent(wrong)


async def test_it_ends_although_a_driver_lost_the_cancellation(
    tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As redis-py does when a connection drops at the same moment."""
    asked = asyncio.Event()

    async def probe() -> None:
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    with anyio.fail_after(30):
        async with open_service(tmp_path, unused_url(), clock) as service:
            monkeypatch.setattr("app.runtime.READINESS_PERIOD_S", 3600.0)
            monkeypatch.setattr(service.runtime.store, "probe", probe)
            await asked.wait()
