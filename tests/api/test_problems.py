"""Errors of the framework's own making: problem bodies as well, and without values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.api.guards import Guard
from app.api.problems import TITLES, Problem, install
from app.errors import Fault
from app.metrics import Metrics
from tests.api.support import MARK, assert_silent

pytestmark = pytest.mark.anyio


class Body(BaseModel):
    """What a later route may declare."""

    number: int


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """An application that fails in every way."""
    app = FastAPI()
    install(app)

    @app.get("/number")
    async def number(number: int) -> int:
        return number

    @app.post("/body")
    async def body(body: Body) -> int:
        return body.number

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, MARK, {"x-own": "1"})

    @app.get("/problems/{kind}")
    async def problem(kind: str) -> None:
        fault = Fault("/a", "b", "c")
        raise Problem(kind, "why", errors=[fault], headers={"x-own": "1"}, extra={"more": [1]})

    app.add_middleware(Guard, max_body_bytes=1000, metrics=Metrics("0"))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://convey.test") as made:
        yield made


@pytest.mark.parametrize("kind", TITLES)
async def test_every_kind_of_problem(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.get(f"/problems/{kind}")
    status, title = TITLES[kind]
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-own"] == "1"
    assert answer.json() == {
        "type": f"urn:convey:problem:{kind}",
        "title": title,
        "status": status,
        "detail": "why",
        "instance": answer.headers["x-request-id"],
        "errors": [{"pointer": "/a", "code": "b", "detail": "c"}],
        "more": [1],
    }


@pytest.mark.parametrize(
    ("method", "path", "json", "pointer"),
    [
        ("GET", f"/number?number={MARK}", None, "/query/number"),
        ("GET", "/number", None, "/query/number"),
        ("POST", "/body", {"number": MARK}, "/body/number"),
        ("POST", "/body", {"other": MARK}, "/body/number"),
        ("POST", "/body", [MARK], "/body"),
    ],
)
async def test_the_frameworks_own_validation_repeats_no_input(
    client: httpx.AsyncClient, method: str, path: str, json: Any, pointer: str
) -> None:
    answer = await client.request(method, path, json=json)
    assert answer.status_code == 400
    told = answer.json()
    assert told["type"] == "urn:convey:problem:invalid_parameter"
    assert [error["pointer"] for error in told["errors"]] == [pointer]
    assert_silent(answer)


async def test_another_refusal_of_the_framework_is_a_problem_without_its_words(client: httpx.AsyncClient) -> None:
    answer = await client.get("/teapot")
    assert answer.json()["type"] == "urn:convey:problem:rejected"
    assert answer.headers["x-own"] == "1"
    assert_silent(answer)


async def test_what_is_no_request_passes_the_guard_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    guard = Guard(app, max_body_bytes=1, metrics=Metrics("0"))
    receive: Any = object()
    send: Any = object()
    scope: Any = {"type": "lifespan"}
    await guard(scope, receive, send)
    assert seen == [(scope, receive, send)]
