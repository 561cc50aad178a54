"""Dead letters over HTTP: listed, summed up, sent again, deleted; by whom, and in which steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from app.api.dead_letters import DeadReason
from app.errors import REASONS, Outcome
from app.outbox.room import Bound, Limits
from app.sandbox.server import SandboxServer
from tests.api.support import (
    ADMIN,
    KEY,
    MARK,
    OTHER,
    POSTER,
    READER,
    Service,
    assert_silent,
    bearer,
    good,
    open_service,
)
from tests.delivery.support import until
from tests.factories import FrozenClock

pytestmark = pytest.mark.anyio
PATH = "/v1/dead-letters"
HOUR = timedelta(hours=1)


def poison(platform: str, number: int, value: str = "10.00", **over: Any) -> dict[str, Any]:
    """An order that one platform refuses."""
    event = good(f"x-{platform}-{number}", **over)
    event["custom_data"] |= {"order_id": f"POISON-{platform.upper()}-{number}", "value": value}
    return event


async def settled(service: Service, dead: int) -> None:
    """Return once nothing is pending and `dead` deliveries are dead."""

    async def is_so() -> bool:
        accounts = (await service.client.get("/v1/ledger")).json()["destinations"].values()
        return not sum(each["pending"] for each in accounts) and sum(each["dead"] for each in accounts) == dead

    await until(is_so)


@pytest.fixture
async def filled(tmp_path: Path, sandbox: SandboxServer, clock: FrozenClock) -> AsyncIterator[Service]:
    """A gateway with three dead letters of `meta`, an hour later one of `tiktok`, and one of another source."""
    async with open_service(tmp_path, sandbox.url, clock) as service:
        await service.post({"events": [poison("meta", number, f"{number}.10") for number in (1, 2, 3)]})
        await settled(service, 3)
        clock.advance(HOUR)
        await service.post(poison("tiktok", 4))
        other = poison("meta", 5, event_time=clock.now().timestamp() - 60)
        await service.client.post("/v1/events", json=other, headers=bearer(OTHER))
        await settled(service, 5)
        clock.advance(HOUR)
        yield service


async def ask(service: Service, key: str = ADMIN, **params: Any) -> httpx.Response:
    return await service.client.get(PATH, params=params, headers=bearer(key))


async def listed(service: Service, key: str = ADMIN, **params: Any) -> list[str]:
    answer = await ask(service, key, **params)
    assert answer.status_code == 200, answer.text
    return [f"{letter['event_id'][-1]}{letter['destination'][0]}" for letter in answer.json()["dead_letters"]]


async def replay(service: Service, key: str = ADMIN, **body: Any) -> httpx.Response:
    return await service.client.post(f"{PATH}/replay", json=body, headers=bearer(key))


def test_the_reasons_are_those_of_the_dead() -> None:
    assert get_args(DeadReason) == REASONS[Outcome.DEAD]


async def test_a_dead_letter_is_told_whole(filled: Service) -> None:
    answer = await ask(filled, destination="tiktok")
    (letter,) = answer.json()["dead_letters"]
    assert answer.json()["next"] is None
    assert letter["detail"]
    assert {name: letter[name] for name in letter if name not in {"detail", "trace_id"}} == {
        "event_id": "purchase_ORD-x-tiktok-4",
        "event_name": "Purchase",
        "source": "shop",
        "destination": "tiktok",
        "reason": "rejected_by_platform",
        "attempts": 1,
        "event_time": "2026-11-20T11:50:00+00:00",
        "accepted_at": "2026-11-20T13:00:00+00:00",
        "died_at": "2026-11-20T13:00:00+00:00",
        "currency": "USD",
        "value": "10.00",
        "unsendable": None,
    }


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["1m", "2m", "3m", "4t", "5m"]),
        ({"destination": "meta"}, ["1m", "2m", "3m", "5m"]),
        ({"reason": "rejected_by_platform", "source": "shop"}, ["1m", "2m", "3m", "4t"]),
        ({"reason": "outcome_unknown"}, []),
        ({"event_id": "purchase_ORD-x-meta-2"}, ["2m"]),
        ({"event_name": "Purchase", "destination": "tiktok"}, ["4t"]),
        ({"event_name": "Lead"}, []),
        ({"older_than": "90m"}, ["1m", "2m", "3m"]),
        ({"newer_than": "90m"}, ["4t", "5m"]),
        ({"older_than": "30m", "newer_than": "90m", "source": "other"}, ["5m"]),
    ],
)
async def test_filters(filled: Service, params: dict[str, str], expected: Sequence[str]) -> None:
    assert await listed(filled, **params) == expected


async def test_pages_meet_each_letter_once(filled: Service) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(10):
        page = (await ask(filled, limit=2, **cursor)).json()
        seen += [letter["event_id"][-1] for letter in page["dead_letters"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ["1", "2", "3", "4", "5"]


async def test_the_summary(filled: Service) -> None:
    answer = (await ask(filled, summary="true", limit=1)).json()
    assert len(answer["dead_letters"]) == 1
    assert answer["summary"] == [
        {
            "destination": "meta",
            "reason": "rejected_by_platform",
            "deliveries": 4,
            "money": {"USD": "16.30"},
            "unsendable": {},
        },
        {
            "destination": "tiktok",
            "reason": "rejected_by_platform",
            "deliveries": 1,
            "money": {"USD": "10.00"},
            "unsendable": {},
        },
    ]
    filled.clock.advance(timedelta(days=3))
    later = (await ask(filled, summary="true", destination="tiktok")).json()
    lost = {"dedup_window_passed": {"deliveries": 1, "money": {"USD": "10.00"}}}
    assert later["summary"][0]["unsendable"] == lost
    assert later["dead_letters"][0]["unsendable"] == "dedup_window_passed"


async def test_who_may_see_and_do_what(filled: Service) -> None:
    assert await listed(filled, READER) == ["1m", "2m", "3m", "4t"]
    assert await listed(filled, OTHER) == ["5m"]
    assert (await ask(filled, KEY, source="other")).status_code == 403
    assert (await ask(filled, POSTER)).status_code == 403
    for key in (KEY, READER, POSTER, OTHER):
        assert (await replay(filled, key, all=True)).status_code == 403
        assert (await filled.client.delete(PATH, params={"all": "true"}, headers=bearer(key))).status_code == 403
    assert len(await listed(filled)) == 5


async def test_a_dry_run_changes_nothing(filled: Service) -> None:
    told = (await replay(filled, all=True, dry_run=True, limit=1)).json()
    assert told == {
        "dry_run": True,
        "ended": 0,
        "deliveries": 5,
        "money": {"USD": "26.30"},
        "unsendable": {},
        "unsendable_share": 0.0,
        "next": None,
    }
    params = {"older_than": "90m", "dry_run": "true"}
    gone = (await filled.client.delete(PATH, params=params, headers=bearer(ADMIN))).json()
    assert (gone["deliveries"], gone["money"], gone["ended"]) == (3, {"USD": "6.30"}, 0)
    assert len(await listed(filled)) == 5


async def test_a_replay_goes_out_again_under_the_same_id(filled: Service, sandbox: SandboxServer) -> None:
    before = (await filled.client.get("/v1/ledger")).json()["destinations"]["tiktok"]
    answer = await replay(filled, destination="tiktok")
    assert answer.status_code == 200
    assert (answer.json()["ended"], answer.json()["next"]) == (1, None)
    await settled(filled, 5)  # still poison
    (letter,) = (await ask(filled, destination="tiktok")).json()["dead_letters"]
    assert (letter["event_id"], letter["attempts"]) == ("purchase_ORD-x-tiktok-4", 1)
    assert letter["died_at"] == "2026-11-20T14:00:00+00:00"
    assert (await filled.client.get("/v1/ledger")).json()["destinations"]["tiktok"] == before


async def test_a_replay_in_steps_meets_nothing_twice(filled: Service) -> None:
    ended = 0
    more: dict[str, Any] = {}
    for _ in range(10):
        step = (await replay(filled, destination="meta", limit=2, **more)).json()
        assert step["ended"] <= 2
        ended += step["ended"]
        await settled(filled, 5)  # whatever was sent again is dead again by now
        filled.clock.advance(timedelta(seconds=1))
        if step["next"] is None:
            break
        more = {"cursor": step["next"]}
    assert ended == 4


async def test_what_would_not_be_sent_can_be_left_alone(filled: Service) -> None:
    filled.clock.advance(timedelta(hours=46) - timedelta(minutes=5))
    told = (await replay(filled, all=True, dry_run=True)).json()
    lost = {"dedup_window_passed": {"deliveries": 4, "money": {"USD": "16.30"}}}
    assert (told["deliveries"], told["unsendable"], told["unsendable_share"]) == (5, lost, 0.8)
    step = (await replay(filled, all=True, only_sendable=True)).json()
    assert (step["ended"], step["deliveries"], step["unsendable"]) == (1, 1, lost)
    await settled(filled, 5)
    await replay(filled, all=True)

    async def is_over() -> bool:
        meta = (await filled.client.get("/v1/ledger")).json()["destinations"]["meta"]
        return bool(meta["expired"] == 3 and meta["dead"] == 1)

    await until(is_over)


async def test_a_purge_keeps_the_counts(filled: Service) -> None:
    before = (await filled.client.get("/v1/ledger")).json()
    params: dict[str, Any] = {"destination": "meta", "limit": 3}
    first = (await filled.client.delete(PATH, params=params, headers=bearer(ADMIN))).json()
    assert (first["ended"], first["deliveries"], first["money"]) == (3, 3, {"USD": "6.30"})
    again = {**params, "cursor": first["next"]}
    second = (await filled.client.delete(PATH, params=again, headers=bearer(ADMIN))).json()
    assert (second["ended"], second["next"]) == (1, None)
    assert await listed(filled) == ["4t"]
    assert (await filled.client.get("/v1/ledger")).json() == before


@pytest.mark.parametrize("body", [{}, {"dry_run": True}, {"limit": 10}, {"all": False}])
async def test_nothing_ends_without_saying_which(shared: Service, body: dict[str, Any]) -> None:
    refused = await replay(shared, **body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/all")
    assert (await shared.client.delete(PATH, headers=bearer(ADMIN))).status_code == 400


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"reason": f"{MARK}-reason"}, "/reason"),
        ({"reason": "rate_limited"}, "/reason"),
        ({"older_than": f"{MARK}h"}, "/older_than"),
        ({"newer_than": "24"}, "/newer_than"),
        ({"limit": "0"}, "/limit"),
        ({"limit": f"{MARK}"}, "/limit"),
        ({"cursor": f"{MARK}-cursor"}, "/cursor"),
        ({"cursor": "1-2"}, "/cursor"),
        ({"cursor": f"{10**30}.1-2-3"}, "/cursor"),
        ({f"{MARK}@mail.example": "x"}, "/…"),
        ({"destination": "m" * 600}, "/destination"),
        ({"destination": MARK}, "/destination"),
        ({"older_than": "99999999d"}, "/older_than"),
        ({"newer_than": "999999999d"}, "/newer_than"),
    ],
)
async def test_what_cannot_be_used_is_named_and_not_repeated(
    shared: Service, params: dict[str, str], pointer: str
) -> None:
    gone = {**params, "all": "true"}
    answers = [
        await ask(shared, **params),
        await shared.client.delete(PATH, params=gone, headers=bearer(ADMIN)),
        await replay(shared, **gone),
    ]
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert_silent(answer)


async def test_a_slip_in_a_name_is_told_apart_from_a_destination_that_was_removed(filled: Service) -> None:
    (error,) = (await replay(filled, destination="mata", dry_run=True)).json()["errors"]
    assert error["code"] == "unknown_destination"
    filled.app.state.destinations = ("tiktok",)
    assert await listed(filled, destination="meta") == ["1m", "2m", "3m", "5m"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"all"'])
async def test_a_body_that_says_nothing(shared: Service, body: bytes) -> None:
    answer = await shared.client.post(f"{PATH}/replay", content=body, headers=bearer(ADMIN))
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:convey:problem:unreadable_body")


async def test_a_replay_leaves_room_for_what_comes_new(filled: Service) -> None:
    filled.app.state.limits = Limits(None, {"meta": Bound(deliveries=4)})
    filled.clock.advance(timedelta(seconds=1))
    lanes = filled.runtime._worker.lanes
    lanes["meta"].stop()  # nothing is delivered meanwhile
    first = (await replay(filled, destination="meta", limit=2)).json()
    assert first["ended"] == 2
    second = await replay(filled, destination="meta", limit=2, cursor=first["next"])
    assert (second.status_code, second.json()["limit"]) == (503, "destinations.meta.max_waiting")
    assert int(second.headers["retry-after"]) > 0
    assert (await replay(filled, destination="tiktok")).json()["ended"] == 1
    dry = (await replay(filled, all=True, dry_run=True)).json()
    assert dry["deliveries"] == 2
