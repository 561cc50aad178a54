"""Consent taken back: nothing that waits goes out, and what comes later only with a newer consent."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import Outcome, Reason
from app.model import Form, HashedIdentity
from app.outbox.port import DeadFilter
from app.withdrawal import keys_of, names_of, person_keys
from app.withdrawals import Withdrawals
from tests.api.support import ALLOWED, OTHER, READER, Service, assert_silent, bearer, fresh, good
from tests.delivery.support import Setup, opened
from tests.factories import FrozenClock, digest, hashed_event, identity

pytestmark = pytest.mark.anyio

JANE = "jane.doe@shop-customer.example"
SECRET = b"a secret of the store"


def janes(number: str, **over: Any) -> dict[str, Any]:
    """An order of the person who withdraws."""
    return good(
        number, user={"email": JANE, "client_user_agent": "Mozilla/5.0", "client_ip_address": "203.0.113.9"}, **over
    )


async def withdraw(service: Service, user: dict[str, Any] | None = None, **over: Any) -> Any:
    """The answer to a withdrawal that must work."""
    answer = await service.client.post("/v1/privacy/withdrawals", json={"user": user or {"email": JANE}, **over})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def outcomes(service: Service, document: dict[str, Any], **options: Any) -> dict[str, tuple[str, str | None]]:
    """What became of a posted event, by destination."""
    answer = await service.post(document, **options)
    verdicts = answer.json()["results"][0]["destinations"]
    return {name: (verdict["outcome"], verdict.get("reason")) for name, verdict in verdicts.items()}


# --- at the door ----------------------------------------------------------------------------------------------------


async def test_what_comes_later_is_denied_everywhere(service: Service) -> None:
    told = await withdraw(service)
    assert told == {
        "withdrawn_at": "2026-11-20T12:00:00+00:00",
        "destinations": ["meta", "tiktok", "pinterest", "snapchat"],
        "in_flight_until": "2026-11-20T12:00:10+00:00",
        "kept_until": "2027-12-25T12:00:00+00:00",
        "warnings": told["warnings"],
    }
    assert set((await outcomes(service, janes("WD-1"))).values()) == {("denied", "consent_withdrawn")}
    assert set((await outcomes(service, fresh())).values()) == {("queued", None)}
    state = await service.state("purchase_ORD-WD-1")
    assert state["destinations"]["meta"]["reason"] == "consent_withdrawn"
    assert state["destinations"]["meta"]["reason_detail"] == "CONSENT_WITHDRAWN"


async def test_only_the_destinations_that_are_named(service: Service) -> None:
    await withdraw(service, destinations=["tiktok", "meta"])
    told = await outcomes(service, janes("WD-2"))
    assert told == {
        "meta": ("denied", "consent_withdrawn"),
        "tiktok": ("denied", "consent_withdrawn"),
        "pinterest": ("queued", None),
        "snapchat": ("queued", None),
    }


@pytest.mark.parametrize(
    ("collected", "outcome"),
    [(None, "denied"), (timedelta(hours=-1), "denied"), (timedelta(0), "denied"), (timedelta(minutes=1), "queued")],
)
async def test_a_newer_consent_counts(service: Service, collected: timedelta | None, outcome: str) -> None:
    at = service.clock.now()
    await withdraw(service)
    service.clock.advance(timedelta(hours=1))
    consent: dict[str, Any] = dict(ALLOWED)
    if collected is not None:
        consent["collected_at"] = (at + collected).isoformat()
    told = await outcomes(service, janes("WD-3", consent=consent))
    assert {outcome for outcome, _ in told.values()} == {outcome}


@pytest.mark.parametrize(
    "user",
    [
        {"email": "JANE.DOE@shop-customer.example "},
        {"email": hashlib.sha256(JANE.encode()).hexdigest()},
        {"email": ["someone.else@shop-customer.example", JANE]},
        {"phone": "+1 415 555 2671"},
        {"phone": "4155552671", "phone_country": "US"},
        {"external_id": "cust-991"},
    ],
)
async def test_any_strong_identifier_names_the_person(service: Service, user: dict[str, Any]) -> None:
    await withdraw(service, user)
    document = janes("WD-4")
    document["user"] |= {"phone": "(415) 555-2671", "phone_country": "US", "external_id": "cust-991"}
    assert set((await outcomes(service, document)).values()) == {("denied", "consent_withdrawn")}


@pytest.mark.parametrize(
    ("identified", "withdrawn"),
    [
        ({"external_id": "cust-991"}, {"external_id": "cust-991"}),
        ({"email": hashlib.sha256(b"janedoe@gmail.com").hexdigest()}, {"email": "Jane.Doe@gmail.com"}),
        ({"email": hashlib.sha256(b"jane.doe@gmail.com").hexdigest()}, {"email": "Jane.Doe@gmail.com"}),
        ({"phone": hashlib.sha256(b"14155552671").hexdigest()}, {"phone": "+1 415 555 2671"}),
        ({"phone": hashlib.sha256(b"+14155552671").hexdigest()}, {"phone": "+1 415 555 2671"}),
        ({"phone": "+1 415 555 2671"}, {"phone": hashlib.sha256(b"14155552671").hexdigest()}),
    ],
)
@pytest.mark.parametrize("destination", ["meta", "tiktok"])
async def test_a_person_is_known_in_whatever_form_the_shop_hashed(
    service: Service, identified: dict[str, Any], withdrawn: dict[str, Any], destination: str
) -> None:
    await withdraw(service, withdrawn)
    document = good(
        "WD-FORM", user={**identified, "client_user_agent": "Mozilla/5.0", "client_ip_address": "203.0.113.9"}
    )
    told = await outcomes(service, {**document, "destinations": [destination]})
    assert told[destination] == ("denied", "consent_withdrawn")


async def test_an_identifier_that_is_none_is_told_beside_a_good_one(service: Service) -> None:
    told = await withdraw(service, {"email": JANE, "phone": "nonsense"})
    assert "/user/phone" in [warning["pointer"] for warning in told["warnings"]]


async def test_a_clock_that_runs_ahead_beats_no_withdrawal(service: Service) -> None:
    await withdraw(service)
    ahead = (service.clock.now() + timedelta(minutes=4)).isoformat()
    told = await outcomes(service, janes("WD-6", consent={**ALLOWED, "collected_at": ahead}))
    assert set(told.values()) == {("denied", "consent_withdrawn")}
    hours = (service.clock.now() + timedelta(hours=9)).isoformat()
    told = await outcomes(service, janes("WD-7", consent={**ALLOWED, "collected_at": hours}))
    assert {outcome for outcome, _ in told.values()} == {"denied"}


async def test_an_explanation_foresees_it(service: Service) -> None:
    await withdraw(service)
    answer = await service.client.post("/v1/events/explain", json=janes("WD-8"))
    lanes = answer.json()["results"][0]["destinations"].values()
    assert {(lane["outcome"], lane["reason"]) for lane in lanes} == {("denied", "consent_withdrawn")}


async def test_another_source_s_customer_is_another_person(service: Service) -> None:
    await withdraw(service, {"external_id": "cust-991", "email": JANE})
    document = janes("WD-5")
    document["user"]["external_id"] = "cust-991"
    told = await outcomes(service, document, headers={**bearer(OTHER), "content-type": "application/json"})
    assert set(told.values()) == {("queued", None)}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/user", "missing"),
        ({"user": {}}, "/user", "missing"),
        ({"user": {"email": "no address"}}, "/user/email", "email_invalid"),
        ({"user": {"first_name": "Jane"}}, "/user/first_name", "unknown_field"),
        ({"user": {"email": JANE}, "destinations": ["nowhere"]}, "/destinations/0", "unknown_destination"),
    ],
)
async def test_what_names_nobody_is_refused(service: Service, body: Any, pointer: str, code: str) -> None:
    answer = await service.client.post("/v1/privacy/withdrawals", json=body)
    assert answer.status_code == 400
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert_silent(answer, "jane", "Jane", "no address", "nowhere")


async def test_nothing_kept_or_answered_tells_who_it_was(service: Service) -> None:
    answer = await service.client.post("/v1/privacy/withdrawals", json={"user": {"email": JANE}})
    assert_silent(answer, "jane")
    kept = service.kept_bytes()
    assert b"jane.doe" not in kept
    assert digest(JANE) not in kept
    assert digest(JANE).hex().encode() not in kept


async def test_scope(service: Service) -> None:
    body = {"user": {"email": JANE}}
    assert (await service.client.post("/v1/privacy/withdrawals", json=body, headers=bearer(READER))).status_code == 403


# --- in the lanes ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    async with opened(tmp_path, FrozenClock()) as ready:
        yield ready


def person(email: str) -> HashedIdentity:
    """Somebody known by an e-mail address."""
    return HashedIdentity(digests={Form.EMAIL: (digest(email),)})


async def test_a_thousand_behind_a_dead_platform_are_never_sent(setup: Setup) -> None:
    mine = [f"mine-{number}" for number in range(1000)]
    await setup.store.accept([setup.plan(name, event=hashed_event(identity=person(JANE))) for name in mine])
    await setup.put("somebody-else", event=hashed_event(identity=identity()))
    await setup.withdrawals.keep("shop", person(JANE), (), setup.clock.now())
    async with setup.running():
        await setup.settled(withdrawn=1000, delivered=1)
    assert len(setup.platform.asked) == 1


async def test_what_was_tried_before_the_withdrawal_is_not_tried_again(setup: Setup) -> None:
    await setup.put("a", event=hashed_event(identity=person(JANE)))
    setup.platform.answer = lambda ids: {"all": "later"}
    async with setup.running():
        while not setup.platform.batches:
            await setup.settled(pending=1)
    await setup.withdrawals.keep("shop", person(JANE), ("meta",), setup.clock.now())
    setup.clock.advance(timedelta(hours=1))
    async with setup.running():
        await setup.settled(withdrawn=1)
    assert len(setup.platform.batches) == 1


async def test_a_withdrawal_for_another_destination_is_none_of_this_lane_s(setup: Setup) -> None:
    await setup.put("a", event=hashed_event(identity=person(JANE)))
    await setup.withdrawals.keep("shop", person(JANE), ("tiktok",), setup.clock.now())
    async with setup.running():
        await setup.settled(delivered=1)


async def test_a_replayed_dead_letter_is_stopped_too(setup: Setup) -> None:
    await setup.put("a", event=hashed_event(identity=person(JANE)))
    setup.platform.answer = lambda ids: {"all": "refused"}
    async with setup.running():
        await setup.settled(dead=1)
    await setup.withdrawals.keep("shop", person(JANE), (), setup.clock.now())
    page = await setup.store.dead_letters(DeadFilter(), 10)
    assert await setup.store.replay(page.letters) == 1
    async with setup.running():
        await setup.settled(withdrawn=1)


async def test_what_a_lane_comes_to_after_an_erasure_ends_as_erased(setup: Setup) -> None:
    await setup.put("mine", event=hashed_event(identity=person(JANE)))
    await setup.put("somebody-else", event=hashed_event(identity=identity()))
    await setup.withdrawals.keep("shop", person(JANE), (), setup.clock.now(), is_erasure=True)
    async with setup.running():
        await setup.settled(erased=1, delivered=1)
    assert setup.platform.asked == ["purchase_somebody-else"]
    (state,) = await setup.store.event("purchase_mine")
    assert state.destinations["meta"].reason is Reason.ERASURE_REQUEST


async def test_it_survives_a_restart_and_is_kept_under_the_store_s_secret(setup: Setup) -> None:
    await setup.withdrawals.keep("shop", person(JANE), (), setup.clock.now())
    again = Withdrawals(setup.store, SECRET)
    elsewhere = Withdrawals(setup.store, b"another secret")
    plan = setup.plan("a", event=hashed_event(identity=person(JANE)))
    (refused,) = await again.deny([plan])
    assert refused.verdicts["meta"].outcome is Outcome.DENIED
    assert refused.deliveries == ()
    assert list(await elsewhere.deny([plan])) == [plan]


def test_a_person_without_a_strong_identifier_has_no_keys() -> None:
    assert person_keys("shop", HashedIdentity(fbp="fb.1.2.3"), SECRET) == ()
    (key,) = person_keys("shop", person(JANE), SECRET)
    assert key not in person_keys("other", person(JANE), SECRET)
    assert names_of(key.hex(), ("meta",)) == [key.hex(), f"{key.hex()}:meta"]


def test_a_digest_counts_once_whatever_forms_it_stands_under() -> None:
    one, other = digest("one"), digest("other")
    alone = person_keys("shop", HashedIdentity(digests={Form.EMAIL: (one,)}), SECRET)
    both: dict[str, tuple[bytes, ...]] = {Form.EMAIL: (one,), Form.EMAIL_GMAIL_FOLDED: (one, other)}
    assert len(person_keys("shop", HashedIdentity(digests=both), SECRET)) == 2
    assert person_keys("shop", HashedIdentity(digests=both), SECRET)[:1] == alone
    assert person_keys("shop", HashedIdentity(digests={Form.EMAIL_GMAIL_FOLDED: (one,)}), SECRET) == alone
    assert person_keys("shop", HashedIdentity(digests={Form.EXTERNAL_ID: (one,)}), SECRET) != alone


def test_an_event_planned_with_keys_goes_by_them_and_an_older_one_by_its_identity() -> None:
    keys = person_keys("shop", person(JANE), SECRET)
    older = hashed_event(identity=person(JANE))
    planned = hashed_event(identity=HashedIdentity(), persons=keys)
    assert keys_of([older, planned], SECRET) == [tuple(key.hex() for key in keys)] * 2
