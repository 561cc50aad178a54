"""What was refused, over HTTP: by pointer and code, never with a value, and never more kinds than there can be."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from app.rejects import shape_of
from tests.api.support import ADMIN, POSTER, WEB, Service, bearer, good
from tests.outbox.support import DAY

pytestmark = pytest.mark.anyio
FIRST = "2026-11-20T12:00:00+00:00"


async def refused(service: Service, query: str = "", key: str | None = None) -> Any:
    answer = await service.client.get(f"/v1/rejects{query}", headers={} if key is None else bearer(key))
    assert answer.status_code == 200, answer.text
    return answer.json()


def kinds(answer: Any) -> dict[tuple[str, str], int]:
    return {(each["pointer"], each["code"]): each["count"] for each in answer["rejects"]}


def priced(*prices: Any, **over: Any) -> dict[str, Any]:
    """An order with lines at these prices."""
    lines = [{"id": "SKU", "item_price": price} for price in prices]
    return good(**over, custom_data={"currency": "USD", "value": "1", "contents": lines})


async def test_events_count_by_the_place_of_their_fault_not_by_its_position(service: Service) -> None:
    bare = {"event_time": "2026-11-20T11:00:00Z"}
    await service.post({"events": [good(1), priced("x", 1), priced(1, "y", "z"), {**bare, "event_name": []}, bare, 5]})
    service.clock.advance(timedelta(hours=1))
    await service.post(priced("x", event_name="order completed"))
    await service.post(priced("x", event_name="Wishes Granted"))
    answer = await refused(service)
    assert kinds(answer) == {
        ("/custom_data/contents/*/item_price", "malformed"): 4,
        ("/event_name", "wrong_type"): 1,
        ("/event_name", "missing"): 1,
        ("", "wrong_type"): 1,
    }
    (first, *_) = answer["rejects"]
    assert first["event_names"] == {"Purchase": 3, "custom": 1}
    assert (first["first_seen"], first["last_seen"], first["today"]) == (FIRST, "2026-11-20T13:00:00+00:00", 4)
    assert answer["requests"] == []
    limited = await refused(service, "?limit=1")
    assert (len(limited["rejects"]), limited["more"]) == (1, 3)


async def test_no_word_of_a_caller_is_kept(service: Service) -> None:
    canary = "jane.doe@canary.example"
    hostile = [good(number, **{f"janedoe{number}": 1}) for number in range(50)]
    hostile += [good(1, custom_data={"properties": {f"Jane Doe {n}": "a\x00"}}) for n in range(50)]
    await service.post({"events": [*hostile, good(2, event_time=canary), {"event_name": canary}]})
    answer = await refused(service)
    assert kinds(answer) == {
        ("/custom_data/properties/*", "invalid_characters"): 50,
        ("/event_time", "malformed"): 1,
        ("/event_time", "missing"): 1,
    }
    assert canary not in json.dumps(answer)
    assert canary.encode() not in service.kept_bytes()
    assert b"Jane Doe" not in service.kept_bytes()


async def test_whole_requests_count_and_those_without_a_key_are_for_admins(service: Service) -> None:
    await service.post(b"{")
    await service.post(b'{"events": []}')
    await service.post(good(1), headers={"authorization": "Bearer nobody"})
    await service.post([])
    await service.post({"events": [5]})  # told event by event
    mine = await refused(service)
    assert [(each["source"], each["problem"], each["count"]) for each in mine["requests"]] == [
        ("shop", "unreadable_body", 3)
    ]
    assert kinds(mine) == {("", "wrong_type"): 1}
    everybody = await refused(service, key=ADMIN)
    assert [(each["source"], each["problem"], each["title"]) for each in everybody["requests"]] == [
        ("shop", "unreadable_body", "The body cannot be read"),
        (None, "unauthorized", "No usable API key"),
    ]


async def test_sources_days_and_parameters(service: Service) -> None:
    await service.post(priced("x"))
    assert kinds(await refused(service, key=WEB)) == {}
    assert kinds(await refused(service, "?source=shop", key=ADMIN)) != {}
    assert (await service.client.get("/v1/rejects?source=web")).status_code == 403
    assert (await service.client.get("/v1/rejects", headers=bearer(POSTER))).status_code == 403
    for query in ("?days=0", "?days=8", "?limit=0", "?since=1h"):
        assert (await service.client.get(f"/v1/rejects{query}")).status_code == 400, query
    service.clock.advance(DAY)
    assert kinds(await refused(service, "?days=1")) == {}
    (kind,) = (await refused(service, "?days=2"))["rejects"]
    assert (kind["count"], kind["today"]) == (1, 0)


@pytest.mark.parametrize(
    ("pointer", "shape"),
    [
        ("", ""),
        ("/custom_data/contents/17/item_price", "/custom_data/contents/*/item_price"),
        ("/user/email/3", "/user/email/*"),
        ("/user/Jane Doe", "/user/*"),
        ("/…", "/*"),
        ("/a" * 40, "/*" * 8),
    ],
)
def test_shapes(pointer: str, shape: str) -> None:
    assert shape_of(pointer) == shape
