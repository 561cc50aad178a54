"""A body that holds no events to tell apart: 400, 413 or 415, and never a value in the answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.support import KEY, MARK, Service, assert_silent, bearer, good, open_service, unused_url
from tests.factories import FrozenClock

pytestmark = pytest.mark.anyio

MIB = 1 << 20
GOOD = json.dumps(good()).encode()


def problem(kind: str) -> str:
    """The type of a problem."""
    return f"urn:convey:problem:{kind}"


UNREADABLE = {
    "empty": b"",
    "blank": b" \n ",
    "cut off": b'{"event_name": "' + MARK.encode(),
    "two documents": GOOD + GOOD,
    "single quotes": b"{'event_name': '" + MARK.encode() + b"'}",
    "trailing comma": b'{"events": [' + GOOD + b",]}",
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "invalid UTF-8": b'{"event_name": "' + MARK.encode() + b'\xff\xfe"}',
    "UTF-8 cut off in a character": b'{"event_name": "\xc3"}',
    "overlong UTF-8": b'{"event_name": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"event_name": "\xed\xa0\x80"}',
    "UTF-16": json.dumps({"event_name": MARK}).encode("utf-16"),
    "raw NUL": b'{"event_name": "a\x00b"}',
    "raw line end": b'{"event_name": "a\nb"}',
    "bad escape": b'{"event_name": "\\x41"}',
    "list": b"[" + GOOD + b"]",
    "empty list": b"[]",
    "text": json.dumps(MARK).encode(),
    "number": b"8675309",
    "NaN": b"NaN",
    "null": b"null",
    "true": b"true",
    "form": f"event_name={MARK}".encode(),
    "list bomb": b"[" * 100_000,
    "closed list bomb": b"[" * 100_000 + b"]" * 100_000,
    "object bomb": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "bomb in events": b'{"events": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    "bomb in properties": b'{"custom_data": {"properties": {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
    "number of 10,000 digits": b'{"event_time": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_body_without_events_is_400(shared: Service, body: bytes) -> None:
    answer = await shared.post(body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == problem("unreadable_body")
    assert told["status"] == 400
    assert told["instance"] == answer.headers["x-request-id"]
    assert "results" not in told
    assert_silent(answer)


@pytest.mark.parametrize(
    ("events", "code"),
    [([], "empty"), ({}, "wrong_type"), (MARK, "wrong_type"), (8675309, "wrong_type"), (None, "wrong_type")],
)
async def test_events_must_be_a_list_with_something_in_it(shared: Service, events: Any, code: str) -> None:
    answer = await shared.post({"events": events})
    assert answer.status_code == 400
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/events", code)]
    assert_silent(answer)


async def test_an_empty_object_is_an_event_without_its_required_fields(shared: Service) -> None:
    answer = await shared.post({})
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert {(error["pointer"], error["code"]) for error in errors} == {
        ("/event_name", "missing"),
        ("/event_time", "missing"),
    }


async def test_a_thousand_events_are_taken_and_one_more_is_not(service: Service) -> None:
    events = [{"event_name": "PageView", "event_time": 1795175400, "event_id": f"page-{n}"} for n in range(1000)]
    answer = await service.post({"events": events})
    assert answer.status_code == 202
    assert [result["event_id"] for result in answer.json()["results"]] == [event["event_id"] for event in events]

    refused = await service.post({"events": [*events, good(MARK)]})
    assert refused.status_code == 413
    assert refused.json()["type"] == problem("too_many_events")
    assert_silent(refused)
    assert (await service.client.get(f"/v1/events/purchase_ORD-{MARK}")).status_code == 404


def padded(size: int) -> bytes:
    """A good event in a body of `size` bytes."""
    return GOOD + b" " * (size - len(GOOD))


async def test_the_largest_body_is_taken(shared: Service) -> None:
    answer = await shared.post(padded(8 * MIB))
    assert answer.status_code == 202


async def test_a_larger_body_is_413(shared: Service) -> None:
    answer = await shared.post(padded(8 * MIB + 1))
    assert answer.status_code == 413
    assert answer.json()["type"] == problem("body_too_large")
    assert answer.headers["connection"] == "close"
    assert_silent(answer)


async def test_a_larger_body_without_a_length_is_413_and_not_read_to_its_end(shared: Service) -> None:
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(64):
            given += MIB
            yield b" " * MIB

    answer = await shared.client.post("/v1/events", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["type"] == problem("body_too_large")
    assert given <= 10 * MIB


async def test_a_body_without_a_length_is_taken_when_it_is_small(shared: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield GOOD[:10]
        yield GOOD[10:]

    answer = await shared.client.post("/v1/events", content=chunks())
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "9" * 30},
        {"content-length": "-1"},
        {"content-length": "many"},
    ],
)
async def test_a_length_that_is_none_is_not_believed(shared: Service, headers: dict[str, str]) -> None:
    answer = await shared.post(GOOD, headers=headers)
    assert answer.status_code == 202


async def test_limits_are_the_configured_ones(tmp_path: Path, clock: FrozenClock) -> None:
    server = {"max_events": 2, "max_body_bytes": "4KiB"}
    async with open_service(tmp_path, unused_url(), clock, server) as service:
        assert (await service.post({"events": [good(1), good(2)]})).status_code == 202
        assert (await service.post({"events": [good(1), good(2), good(3)]})).status_code == 413
        assert (await service.post(padded(4096))).status_code == 202
        assert (await service.post(padded(4097))).status_code == 413


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", MARK],
)
async def test_another_content_type_is_415(shared: Service, media_type: str) -> None:
    answer = await shared.post(GOOD, headers={"content-type": media_type})
    assert answer.status_code == 415
    assert answer.json()["type"] == problem("unsupported_media_type")
    assert_silent(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "Application/JSON; charset=utf-8"},
        {"content-type": "application/vnd.shop+json"},
        {"content-encoding": "identity"},
    ],
)
async def test_json_under_any_of_its_names_is_taken(shared: Service, headers: dict[str, str]) -> None:
    assert (await shared.post(GOOD, headers=headers)).status_code == 202


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", MARK])
async def test_a_compressed_body_is_415(shared: Service, encoding: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    answer = await shared.post(gzip.compress(GOOD), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["type"] == problem("unsupported_media_type")
    assert_silent(answer)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", f"/{MARK}", 404, "not_found"),
        ("POST", f"/v1/{MARK}?key={MARK}", 404, "not_found"),
        ("GET", "/metrics", 404, "not_found"),
        ("DELETE", "/v1/events", 405, "method_not_allowed"),
        ("PUT", f"/v1/events/{MARK}", 405, "method_not_allowed"),
        ("POST", "/v1/ledger", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("BREW", "/v1/ledger", 405, "method_not_allowed"),
        ("GET", f"/v1/events/{MARK}", 404, "not_found"),
    ],
)
async def test_a_path_or_method_that_is_not_there(
    shared: Service, method: str, path: str, status: int, kind: str
) -> None:
    answer = await shared.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail", "instance", "errors"}
    assert (told["type"], told["status"]) == (problem(kind), status)
    assert ("allow" in answer.headers) == (status == 405)
    assert_silent(answer)


async def test_what_is_wrong_with_the_key_is_told_before_the_body_is_read(shared: Service) -> None:
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        given += 1
        yield b"[" * MIB

    answer = await shared.client.post("/v1/events", content=chunks(), headers=bearer(f"{MARK}-key"))
    assert answer.status_code == 401
    assert given == 0
    assert_silent(answer)
    assert KEY not in answer.text


async def test_a_caller_that_leaves_while_posting_is_no_fault_of_ours(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/events",
        "raw_path": b"/v1/events",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {KEY}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    messages = [{"type": "http.request", "body": GOOD[:10], "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    await service.app(scope, receive, send)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    metrics = service.runtime.metrics.registry
    labels = {"route": "/v1/events", "method": "POST", "code": "5xx"}
    assert not metrics.get_sample_value("convey_http_requests_total", labels)
