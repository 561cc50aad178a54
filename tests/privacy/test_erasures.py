"""Erasure and access: all about a person is ended, told and deleted, and nothing of it comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.dedup.port import KeptContext, SideReport
from app.erasing import Erasing
from app.errors import Outcome, Reason, StoreUnavailable
from app.model import Delivery, Settlement
from app.outbox import aftermath
from app.outbox.port import DeadFilter, Memo
from tests.api.support import (
    ADMIN,
    ALLOWED,
    KEY,
    OTHER,
    READER,
    Service,
    assert_silent,
    bearer,
    fresh,
    open_service,
    unused_url,
)
from tests.factories import FrozenClock, digest
from tests.privacy.test_withdrawals import JANE, janes, outcomes, withdraw

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=20)


@pytest.fixture
async def service(tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Service]:
    """A gateway whose lanes stand still: the tests claim and settle."""
    async with open_service(tmp_path, unused_url(), clock) as opened:
        await opened.runtime.drain()
        yield opened


NOTHING = {"events": 0, "event_ids": 0, "contexts": 0, "pairs": 0, "consent_proofs": 0}


async def ask(service: Service, path: str, status: int = 200, key: str = ADMIN, **body: Any) -> Any:
    """The answer to a privacy call about Jane."""
    answer = await service.client.post(
        f"/v1/privacy/{path}", json={"user": {"email": JANE}, **body}, headers=bearer(key)
    )
    assert answer.status_code == status, answer.text
    assert_silent(answer, JANE, "jane", digest(JANE).hex())
    return answer.json()


async def erase(service: Service, **body: Any) -> list[Any]:
    """All the answers of an erasure, to its end."""
    told = [await ask(service, "erasures", **body)]
    while not told[-1]["complete"]:
        told.append(await ask(service, "erasures", **body, continue_with=told[-1]["continue_with"]))
    assert told[-1]["continue_with"] is None
    return told


async def access(service: Service, **body: Any) -> list[Any]:
    """Every event that access shows."""
    page = await ask(service, "access", **body)
    events = page["events"]
    while page["next"] is not None:
        page = await ask(service, "access", **body, cursor=page["next"])
        events += page["events"]
    return list(events)


async def claimed(service: Service, destination: str) -> dict[str, Delivery]:
    """What is ready for a destination, claimed, by event id."""
    return {each.event_id: each for each in await service.runtime.store.claim(destination, 100, LEASE)}


async def settle(service: Service, *settlements: Settlement) -> None:
    assert await service.runtime.store.settle(settlements) == len(settlements)


async def ledger(service: Service, destination: str = "meta") -> Mapping[str, int]:
    """The counts that are not zero, of a ledger that closes."""
    account = (await service.runtime.store.ledger())[destination]
    assert account.is_closed
    assert (await service.runtime.store.recount()).differences == ()
    return {state: number for state, number in account.deliveries.items() if number}


async def put(service: Service) -> None:
    """Three orders of Jane's: one that Meta has, one that waits, one dead there; and one of somebody else's."""
    await service.post({"events": [janes("ER-1"), janes("ER-2"), janes("ER-3"), fresh(transaction_id="ORD-else")]})
    mine = await claimed(service, "meta")
    await settle(
        service,
        Settlement(mine["purchase_ORD-ER-1"], Outcome.DELIVERED, trace_id="trace-1"),
        Settlement(mine["purchase_ORD-ER-2"], Outcome.RETRYING, attempted=False, ready_at=service.clock.now()),
        Settlement(mine["purchase_ORD-ER-3"], Outcome.DEAD, Reason.REJECTED_BY_PLATFORM),
        Settlement(mine["purchase_ORD-else"], Outcome.RETRYING, attempted=False, ready_at=service.clock.now()),
    )


async def test_what_may_have_arrived_is_told_as_well(service: Service) -> None:
    await service.post({"events": [janes(f"ER-{number}") for number in range(1, 6)]})
    mine = await claimed(service, "meta")
    now = service.clock.now()
    await settle(
        service,
        Settlement(mine["purchase_ORD-ER-1"], Outcome.RETRYING, Reason.NETWORK, ready_at=now + LEASE, unsure_since=now),
        Settlement(mine["purchase_ORD-ER-2"], Outcome.DEAD, Reason.OUTCOME_UNKNOWN),
        Settlement(mine["purchase_ORD-ER-3"], Outcome.DEAD, Reason.REJECTED_BY_PLATFORM),
        Settlement(mine["purchase_ORD-ER-4"], Outcome.RETRYING, attempted=False, ready_at=now),
    )  # and the fifth is in flight
    expected = {(f"purchase_ORD-ER-{number}", None, False) for number in (1, 2, 3)}

    def told(answer: Any) -> set[Any]:
        return {(each["event_id"], each["delivered_at"], each["certain"]) for each in answer["delivered"]}

    first = await ask(service, "erasures")
    assert told(first) == expected
    again = await ask(service, "erasures")  # the first answer was lost
    assert told(again) == expected
    assert again["in_flight"] == {"meta": 1}


async def test_an_erasure_ends_tells_and_deletes(service: Service) -> None:
    await put(service)
    first, last = await erase(service)
    assert first["phase"] == "stop"
    assert first["found"] == 3
    assert first["ended"] == {
        "meta": {"pending": 1, "dead": 1},
        "pinterest": {"pending": 3, "dead": 0},
        "snapchat": {"pending": 3, "dead": 0},
        "tiktok": {"pending": 3, "dead": 0},
    }
    assert first["delivered"] == [
        {
            "destination": "meta",
            "event_id": "purchase_ORD-ER-1",
            "event_name": "Purchase",
            "delivered_at": "2026-11-20T12:00:00+00:00",
            "trace_id": "trace-1",
            "certain": True,
        },
        {
            "destination": "meta",
            "event_id": "purchase_ORD-ER-3",
            "event_name": "Purchase",
            "delivered_at": None,
            "trace_id": None,
            "certain": False,
        },
    ]
    assert first["deleted"] == NOTHING
    assert last["phase"] == "delete"
    assert last["deleted"] == {**NOTHING, "events": 3, "consent_proofs": 3}
    assert (last["left"], last["in_flight"], last["delivered"]) == (0, {}, [])
    assert last["erased_at"] == "2026-11-20T12:00:00+00:00"
    assert last["kept_until"] == "2027-12-25T12:00:00+00:00"
    assert await ledger(service) == {"queued": 4, "delivered": 1, "erased": 2, "pending": 1}
    assert (await service.client.get("/v1/events/purchase_ORD-ER-1")).status_code == 404
    assert (await service.client.get("/v1/events/purchase_ORD-else")).status_code == 200
    assert list((await service.runtime.store.dead_letters(DeadFilter(), 10)).letters) == []
    assert list(await claimed(service, "meta")) == ["purchase_ORD-else"]


async def test_repeated_it_finds_nothing(service: Service) -> None:
    await put(service)
    await erase(service)
    before = await ledger(service)
    assert await access(service) == []
    (again,) = await erase(service)
    assert (again["found"], again["ended"], again["delivered"], again["deleted"]) == (0, {}, [], NOTHING)
    assert await ledger(service) == before


async def test_a_caller_whose_connection_broke_is_told_again(service: Service) -> None:
    await put(service)
    await ask(service, "erasures")  # the answer to this one was lost
    (first, *_) = await erase(service)
    assert [each["event_id"] for each in first["delivered"]] == ["purchase_ORD-ER-1", "purchase_ORD-ER-3"]
    assert first["ended"] == {}


async def test_what_comes_later_is_denied_and_says_why(service: Service) -> None:
    await ask(service, "erasures")
    assert set((await outcomes(service, janes("ER-4"))).values()) == {("denied", "consent_withdrawn")}
    state = await service.state("purchase_ORD-ER-4")
    assert state["destinations"]["meta"]["reason_detail"] == "SUBJECT_ERASED"
    assert state["consent"][0]["destinations"]["meta"]["code"] == "SUBJECT_ERASED"
    assert set((await outcomes(service, fresh())).values()) == {("queued", None)}


async def test_a_newer_consent_counts_after_an_erasure(service: Service) -> None:
    await ask(service, "erasures")
    later = (service.clock.now() + timedelta(hours=1)).isoformat()
    service.clock.advance(timedelta(hours=2))
    told = await outcomes(service, janes("ER-5", consent={**ALLOWED, "collected_at": later}))
    assert set(told.values()) == {("queued", None)}
    told = await outcomes(service, janes("ER-6", consent={**ALLOWED, "collected_at": "2026-11-20T11:00:00Z"}))
    assert set(told.values()) == {("denied", "consent_withdrawn")}


async def test_a_later_grant_releases_nothing_that_was_stopped(service: Service) -> None:
    """Neither what waited when consent was taken back, nor what was refused since."""
    await service.post(janes("ER-7"))
    await withdraw(service)
    await service.post(janes("ER-8"))
    later = (service.clock.now() + timedelta(minutes=30)).isoformat()
    service.clock.advance(timedelta(hours=1))
    assert set((await outcomes(service, janes("ER-9", consent={**ALLOWED, "collected_at": later}))).values()) == {
        ("queued", None)
    }
    waiting = await claimed(service, "meta")
    assert set(waiting) == {"purchase_ORD-ER-7", "purchase_ORD-ER-9"}
    ended = await service.runtime.withdrawals.end(list(waiting.values()))
    assert [each.delivery.event_id for each in ended] == ["purchase_ORD-ER-7"]
    state = await service.state("purchase_ORD-ER-8")
    assert {each["outcome"] for each in state["destinations"].values()} == {"denied"}


async def test_the_tombstone_is_kept_before_anything_is_done(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the midst leaves an erasure that is to be repeated, and nothing that is sent meanwhile."""
    await service.post(janes("ER-10"))

    async def crash(*_: Any) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(service.runtime.store.persons, "find", crash)
    await ask(service, "erasures", status=500)
    ended = await service.runtime.withdrawals.end(list((await claimed(service, "meta")).values()))
    assert [(each.outcome, each.reason) for each in ended] == [(Outcome.ERASED, Reason.ERASURE_REQUEST)]


@pytest.mark.parametrize("path", ["withdrawals", "erasures"])
async def test_nothing_is_answered_before_the_tombstone_is_durable(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    await service.post(janes("ER-16"))

    async def full(*_: Any) -> None:
        raise StoreUnavailable("the store is full")

    monkeypatch.setattr(service.runtime.store, "keep_memos", full)
    await ask(service, path, status=503)
    assert (await service.state("purchase_ORD-ER-16"))["destinations"]["meta"]["outcome"] == "queued"


async def test_what_is_in_flight_is_left_and_said(service: Service) -> None:
    await service.post(janes("ER-11"))
    (delivery,) = (await claimed(service, "meta")).values()
    first, last = await erase(service)
    assert first["in_flight"] == {"meta": 1}
    assert first["ended"].keys() == {"tiktok", "pinterest", "snapchat"}
    assert (last["deleted"]["events"], last["left"], last["in_flight"]) == (0, 1, {"meta": 1})
    assert last["in_flight_until"] == "2026-11-20T12:00:10+00:00"
    service.clock.advance(timedelta(seconds=1))
    await settle(service, Settlement(delivery, Outcome.DELIVERED))
    service.clock.advance(timedelta(seconds=10))
    first, last = await erase(service)
    assert [each["event_id"] for each in first["delivered"]] == ["purchase_ORD-ER-11"]
    assert (last["deleted"]["events"], last["left"]) == (1, 0)


async def test_nothing_is_deleted_whose_arrival_was_not_told(service: Service) -> None:
    await service.post(janes("ER-12"))
    (delivery,) = (await claimed(service, "meta")).values()
    first = await ask(service, "erasures")
    assert first["delivered"] == []
    service.clock.advance(timedelta(seconds=1))
    await settle(service, Settlement(delivery, Outcome.DELIVERED))
    last = await ask(service, "erasures", continue_with=first["continue_with"])
    assert (last["complete"], last["deleted"]["events"], last["left"]) == (True, 0, 1)
    assert [each["event_id"] for each in (await erase(service))[0]["delivered"]] == ["purchase_ORD-ER-12"]


async def test_everything_around_an_event_goes_with_it(service: Service) -> None:
    store, until = service.runtime.store, service.clock.now() + timedelta(days=1)
    await service.client.put("/v1/event-ids/Lead/ORD-ER-13")
    await store.pairs.report([SideReport("shop", "purchase_ORD-ER-13", "meta", b"\x80")], until, until)
    names = (
        aftermath.adjust_name("shop", "ORD-ER-13"),
        aftermath.refused_name("shop", "Purchase", "purchase_ORD-ER-13"),
    )
    await store.keep_memos(
        [
            Memo(aftermath.adjust_book("google"), names[0], b"[null,{}]", until),
            Memo(aftermath.refused_book("google"), names[1], b"x", until),
        ]
    )
    service.app.state.erasing._adjusting = ("google",)
    await service.post(janes("ER-13"))
    await store.keep_contexts([KeptContext("shop", "ORD-ER-13", b"body", until)])
    *_, last = await erase(service)
    assert last["deleted"] == {"events": 1, "event_ids": 1, "contexts": 1, "pairs": 1, "consent_proofs": 1}
    assert await store.contexts("shop", ["ORD-ER-13"]) == {}
    assert await store.memos(aftermath.adjust_book("google"), names[:1]) == {}
    assert await store.memos(aftermath.refused_book("google"), names[1:]) == {}


async def test_proofs_may_be_kept_as_evidence(service: Service) -> None:
    await put(service)
    *_, last = await erase(service, keep_proofs=True)
    assert last["deleted"] == {**NOTHING, "events": 3}
    proofs = await service.client.get("/v1/audit/consent")
    assert proofs.text.count("purchase_ORD-ER-") == 3


async def test_it_goes_on_in_bounded_steps(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = service.runtime
    service.app.state.erasing = Erasing(runtime.store, runtime.withdrawals, (), runtime.now, within=timedelta(0))
    monkeypatch.setattr("app.outbox.sqlite.persons.LOOK_AT", 2)
    await put(service)
    await service.post({"events": [fresh(), fresh(), fresh()]})
    told = await erase(service)
    assert [(each["phase"], each["found"]) for each in told] == [
        *(("stop", found) for found in (2, 1, 0, 0)),
        *(("delete", found) for found in (2, 1, 0, 0)),
    ]
    assert sum(each["deleted"]["events"] for each in told) == 3
    assert [each["event_id"] for answer in told for each in answer["delivered"]] == [
        "purchase_ORD-ER-1",
        "purchase_ORD-ER-3",
    ]
    assert sum(each["looked_at"] for each in told) == 14
    again = await erase(service)
    assert [(each["phase"], each["found"]) for each in again] == [("stop", 0)] * 4


async def test_a_continuation_belongs_to_its_person_and_store(service: Service) -> None:
    await put(service)
    first = await ask(service, "erasures")
    for changed in (
        {"user": {"email": "someone@shop-customer.example"}},
        {"source": "other"},
    ):
        refused = await ask(service, "erasures", status=400, continue_with=first["continue_with"], **changed)
        assert [error["pointer"] for error in refused["errors"]] == ["/continue_with"]
    for nonsense in ("x", first["continue_with"] + "x", "~~~", first["continue_with"].replace("~delete~", "~burn~")):
        await ask(service, "erasures", status=400, continue_with=nonsense)
    await ask(service, "access", status=400, cursor="nowhere")
    assert (await service.client.get("/v1/events/purchase_ORD-else")).status_code == 200


async def test_several_persons_in_one_scan(service: Service) -> None:
    await put(service)
    *_, last = await erase(service, user={"email": [JANE, "someone@shop-customer.example"]})
    assert last["deleted"]["events"] == 4


async def test_another_source_s_customer_is_left_alone(service: Service) -> None:
    await service.post(janes("ER-14"), headers={**bearer(OTHER), "content-type": "application/json"})
    (done,) = await erase(service)
    assert done["found"] == 0
    *_, last = await erase(service, source="other")
    assert last["deleted"]["events"] == 1
    refused = await ask(service, "erasures", status=400, source="nowhere")
    assert [error["code"] for error in refused["errors"]] == ["unknown_source"]


# --- access ---------------------------------------------------------------------------------------------------------


async def test_access_shows_what_is_kept_and_no_value(service: Service) -> None:
    until = service.clock.now() + timedelta(days=1)
    await put(service)
    await service.runtime.store.pairs.report([SideReport("shop", "purchase_ORD-ER-1", "server", b"\x80")], until, until)
    one, two, three = await access(service)
    assert [each["event_id"] for each in (one, two, three)] == [f"purchase_ORD-ER-{number}" for number in (1, 2, 3)]
    assert one["destinations"]["meta"]["outcome"] == "delivered"
    assert one["destinations"]["meta"]["trace_id"] == "trace-1"
    assert two["destinations"]["meta"]["outcome"] == "queued"
    assert three["destinations"]["meta"]["outcome"] == "dead"
    assert set(one["identifiers"]) >= {"em.1", "client_ip_address", "client_user_agent"}
    assert one["consent"][0]["destinations"]["meta"]["outcome"] == "queued"
    assert one["context"] is None
    assert one["transaction_id"] == "ORD-ER-1"
    page = await ask(service, "access")
    assert (page["withdrawals"], page["next"]) == ([], None)


async def test_access_names_what_a_context_holds(service: Service) -> None:
    context = {"user": {"fbp": "fb.1.1763632800000.1098115397", "client_ip_address": "203.0.113.77"}}
    await service.client.put("/v1/contexts/ORD-ER-15", json=context)
    await service.post(janes("ER-15"))
    (shown,) = await access(service)
    assert shown["context"]["fields"] == ["client_ip_address", "fbp"]


async def test_access_shows_withdrawals_and_erasures(service: Service) -> None:
    await withdraw(service, destinations=["tiktok"])
    service.clock.advance(timedelta(hours=1))
    await ask(service, "erasures")
    page = await ask(service, "access")
    assert page["withdrawals"] == [
        {"kind": "withdrawal", "destinations": ["tiktok"], "at": "2026-11-20T12:00:00+00:00"},
        {"kind": "erasure", "destinations": None, "at": "2026-11-20T13:00:00+00:00"},
    ]
    assert page["events"] == []


@pytest.mark.parametrize("path", ["erasures", "access"])
async def test_scope(shared: Service, path: str) -> None:
    for key, status in ((KEY, 403), (READER, 403), (ADMIN, 200)):
        await ask(shared, path, status=status, key=key)


@pytest.mark.parametrize("path", ["withdrawals", "erasures", "access"])
async def test_what_names_nobody_is_refused(shared: Service, path: str) -> None:
    refused = await ask(shared, path, status=400, user={"email": "no address"})
    assert [error["pointer"] for error in refused["errors"]] == ["/user/email"]
    assert refused["errors"][0]["detail"] == "not an e-mail address of the shape name@domain.tld"
    refused = await ask(shared, path, status=400, user={"phone": "12"})
    assert refused["errors"][0]["detail"].startswith("not a valid phone number")
    refused = await ask(shared, path, status=400, user={})
    assert [error["pointer"] for error in refused["errors"]] == ["/user"]
    many = [f"cust-{number}" for number in range(6)]
    refused = await ask(shared, path, status=400, user={"email": JANE, "external_id": many})
    assert [error["code"] for error in refused["errors"]] == ["too_many_values"]
    assert "at most 5 different values" in refused["errors"][0]["detail"]
    assert "left out" not in str(refused["errors"])
