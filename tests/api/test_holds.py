"""An order that is not paid yet: posted with `hold`, released or cancelled, and what is told of it meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.sandbox.server import SandboxServer
from tests.api.support import ADMIN, OTHER, POSTER, READER, Service, assert_silent, bearer, good, open_service
from tests.delivery.support import until
from tests.factories import START, FrozenClock

pytestmark = pytest.mark.anyio

WINDOW = timedelta(hours=48)
PAIRED_UNTIL = (START - timedelta(minutes=10) + WINDOW).isoformat()


async def ask(service: Service, verb: str, event_id: str = "purchase_ORD-1", key: str = POSTER, **query: str) -> Any:
    """The answer to a release or a cancellation."""
    path = f"/v1/events/{event_id}/{verb}"
    return await service.client.post(path, params=query, headers=bearer(key))


async def outcomes(service: Service, event_id: str = "purchase_ORD-1") -> set[tuple[Any, Any, bool]]:
    """Outcome, reason and whether it is held, at all destinations together; what is tried in vain counts as queued."""
    told = (await service.state(event_id))["destinations"].values()
    return {
        ("queued", None, each["held_until"] is not None)
        if each["outcome"] == "retrying"
        else (each["outcome"], each["reason"], each["held_until"] is not None)
        for each in told
    }


def status_of(answer: httpx.Response) -> str:
    """The status of the one event in an answer."""
    (result,) = answer.json()["results"]
    return str(result["status"])


async def test_it_is_kept_and_shown_as_held(service: Service) -> None:
    answer = await service.post(good(hold=True))
    assert answer.status_code == 202
    (result,) = answer.json()["results"]
    assert result["status"] == "accepted"
    assert result["destinations"]["meta"] == {"outcome": "queued", "limited": False, "held_until": PAIRED_UNTIL}
    assert await outcomes(service) == {("queued", None, True)}
    lanes = (await service.client.get("/v1/destinations")).json()["destinations"]
    assert {(lane["held"], lane["ready"], lane["later"], lane["oldest_age_s"]) for lane in lanes.values()} == {
        (1, 0, 0, None)
    }
    ledger = (await service.client.get("/v1/ledger")).json()["destinations"]
    assert ledger["meta"]["pending"] == ledger["meta"]["queued"] == 1


async def test_released_it_goes_and_a_second_release_changes_nothing(service: Service) -> None:
    await service.post(good(hold=True))
    first, second = await ask(service, "release"), await ask(service, "release")
    assert (first.status_code, status_of(first)) == (200, "released")
    assert "held_until" not in first.json()["results"][0]["destinations"]["meta"]
    assert (second.status_code, status_of(second)) == (200, "not_held")
    assert await outcomes(service) == {("queued", None, False)}
    refused = await ask(service, "cancel")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:convey:problem:not_held")
    assert "cannot be cancelled" in refused.json()["detail"]
    assert await outcomes(service) == {("queued", None, False)}


async def test_cancelled_it_ends_and_is_released_by_nobody(service: Service) -> None:
    await service.post(good(hold=True))
    assert [status_of(await ask(service, "cancel")) for _ in range(2)] == ["cancelled", "cancelled"]
    assert await outcomes(service) == {("withdrawn", "cancelled", False)}
    refused = await ask(service, "release")
    assert (refused.status_code, status_of(refused)) == (409, "cancelled")
    assert "was cancelled" in refused.json()["detail"]


async def test_what_was_never_held_is_told_as_it_is(service: Service) -> None:
    await service.post(good())
    answer = await ask(service, "release")
    assert (answer.status_code, status_of(answer)) == (200, "not_held")
    assert (await ask(service, "cancel")).status_code == 409
    assert await outcomes(service) == {("queued", None, False)}


async def test_who_may_and_what_is_unknown(service: Service) -> None:
    await service.post(good(hold=True))
    assert (await ask(service, "release", key=READER)).status_code == 403
    assert (await ask(service, "release", key=OTHER)).status_code == 404, "another source's event"
    assert (await ask(service, "release", key=OTHER, source="shop")).status_code == 403
    assert (await ask(service, "cancel", "purchase_ORD-9")).status_code == 404
    assert (await ask(service, "release", event_name="Lead")).status_code == 404
    assert_silent(await ask(service, "release", "zq7x-unknown", event_name="zq7x-name"))
    assert await outcomes(service) == {("queued", None, True)}
    assert status_of(await ask(service, "release", key=ADMIN, source="shop")) == "released"


async def test_every_event_of_the_id_is_meant_unless_one_is_named(service: Service) -> None:
    for name in ("Purchase", "Lead", "Subscribe"):
        await service.post(good(event_name=name, event_id="shared/1", hold=True))
    named = await ask(service, "release", "shared/1", event_name="Lead")
    assert [(each["event_name"], each["status"]) for each in named.json()["results"]] == [("Lead", "released")]
    rest = await ask(service, "cancel", "shared/1")
    assert {each["event_name"]: each["status"] for each in rest.json()["results"]} == {
        "Purchase": "cancelled",
        "Subscribe": "cancelled",
        "Lead": "not_held",
    }


@pytest.mark.parametrize(
    ("first", "second", "warns"),
    [
        ({"hold": True}, {}, "still_held"),
        ({"hold": True}, {"hold": True}, None),
        ({}, {"hold": True}, "not_held"),
        ({}, {}, None),
    ],
)
async def test_a_repeat_changes_nothing_and_says_so(
    service: Service, first: dict[str, Any], second: dict[str, Any], warns: str | None
) -> None:
    await service.post(good(**first))
    (again,) = (await service.post(good(**second))).json()["results"]
    assert again["status"] == "duplicate"
    told = [each["code"] for each in again["warnings"] if each["pointer"] == "/hold"]
    assert told == ([] if warns is None else [warns])
    assert ("held_until" in again["destinations"]["meta"]) == first.get("hold", False)
    assert await outcomes(service) == {("queued", None, first.get("hold", False))}


@pytest.mark.parametrize("verb", ["release", "cancel"])
async def test_posted_again_long_after_it_is_still_known(service: Service, clock: FrozenClock, verb: str) -> None:
    await service.post(good(hold=True))
    clock.advance(timedelta(hours=47))
    assert (await ask(service, verb)).status_code == 200
    before = await outcomes(service)
    clock.advance(timedelta(hours=46))
    (again,) = (await service.post(good())).json()["results"]
    assert again["status"] == "duplicate"
    told = [each["code"] for each in again["warnings"]]
    assert ("cancelled" in told) == (verb == "cancel")
    assert await outcomes(service) == before


async def test_a_slip_of_the_pen_is_not_taken_for_all_events(service: Service) -> None:
    await service.post(good(hold=True))
    assert (await ask(service, "cancel", event_nmae="Lead")).status_code == 400
    assert await outcomes(service) == {("queued", None, True)}


async def test_consent_holds_for_what_is_held(service: Service) -> None:
    (denied,) = (await service.post(good(hold=True, consent={}))).json()["results"]
    assert {each["outcome"] for each in denied["destinations"].values()} == {"denied"}
    assert status_of(await ask(service, "release")) == "not_held"


async def test_it_leaves_when_released_and_expires_when_not(
    tmp_path: Any, clock: FrozenClock, sandbox: SandboxServer
) -> None:
    async with open_service(tmp_path, sandbox.url, clock) as service:
        await service.post({"events": [good(number, hold=True, destinations=["meta"]) for number in (1, 2)]})
        await service.post(good(3, destinations=["meta"]))

        async def is_at(event_id: str, *expected: Any) -> bool:
            told = (await service.state(event_id))["destinations"]["meta"]
            return (told["outcome"], told["reason"], told["reason_detail"]) == expected

        await until(lambda: is_at("purchase_ORD-3", "delivered", None, None))
        assert await outcomes(service, "purchase_ORD-1") >= {("queued", None, True)}
        await ask(service, "release", "purchase_ORD-1")
        await until(lambda: is_at("purchase_ORD-1", "delivered", None, None))
        clock.advance(WINDOW)
        await service.post(good(4, destinations=["meta"], event_time=clock.now().timestamp()))
        never = ("expired", "dedup_window_passed", "it was held back and never released")
        await until(lambda: is_at("purchase_ORD-2", *never))
        late = await ask(service, "release", "purchase_ORD-2")
        assert (late.status_code, status_of(late)) == (409, "expired")
        assert status_of(await ask(service, "cancel", "purchase_ORD-2")) == "expired"
