"""Every GET refuses parameters it does not know; no POST is lost for what somebody appended to its address."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.support import ADMIN, Service, assert_silent, bearer, fresh

pytestmark = pytest.mark.anyio


def readable(service: Service) -> list[str]:
    """The paths that are read with a key, with something in place of their parameters and for those they require."""
    paths: dict[str, Any] = service.app.openapi()["paths"]
    found = []
    for path, calls in paths.items():
        if "get" in calls and path.startswith("/v1"):
            given = calls["get"].get("parameters", ())
            required = [each["name"] for each in given if each["in"] == "query" and each["required"]]
            query = "".join(f"&{name}=2026-11-20T10:00:00Z" for name in required)
            found.append(re.sub(r"{[^}]*}", "x", path) + f"?colour=zq7x{query}")
    return found


async def test_every_get_refuses_what_it_does_not_know(shared: Service) -> None:
    paths = readable(shared)
    assert len(paths) >= 9
    for path in paths:
        answer = await shared.client.get(path, headers=bearer(ADMIN))
        assert answer.status_code == 400, f"{path}: {answer.text}"
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
            ("/colour", "unknown_field")
        ]
        assert_silent(answer)
        assert (await shared.client.get(path, headers=bearer("ck_nobody"))).status_code == 401


async def test_it_says_what_may_be_asked(shared: Service) -> None:
    answer = await shared.client.get("/v1/audit/dedup?day=3", headers=bearer(ADMIN))
    (error,) = answer.json()["errors"]
    assert error["detail"] == "is not a parameter of this call; it takes days, source"


async def test_a_post_is_taken_all_the_same(shared: Service) -> None:
    answer = await shared.client.post("/v1/events?utm_source=x", json=fresh())
    assert answer.status_code == 202
