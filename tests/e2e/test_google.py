"""Google end to end: a real gateway and the sandbox's token endpoint, ingestion and request status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.harness import JSON, Gateway, Order, orders, sandbox_running, wait_until
from tests.redis_server import RedisServer

GOOGLE = "google"
ACTION = "987654321"


def new_account(sandbox: str, email: str) -> str:
    """The key file of a service account that the sandbox knows."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    known = httpx.get(f"{sandbox}/_google").json()["keys"]
    httpx.put(f"{sandbox}/_google", json={"keys": {**known, email: public.decode()}}).raise_for_status()
    return json.dumps(
        {
            "type": "service_account",
            "client_email": email,
            "private_key": private.decode(),
            "private_key_id": "k",
            "token_uri": f"{sandbox}/token",
        }
    )


class Site:
    """A gateway whose one destination is Google, and the sandbox."""

    def __init__(self, folder: Path, sandbox: Any, store: str | None) -> None:
        self.url = sandbox.url
        self.secret = folder / "credentials.json"
        self.secret.write_text(new_account(self.url, "one@shop.example"))
        self.gateway = Gateway(folder / "gateway", self.url)
        config = json.loads(self.gateway.config.read_text())
        config["destinations"] = [
            {
                "name": GOOGLE,
                "type": GOOGLE,
                "base_url": self.url,
                "operating_account": "123-456-7890",
                "conversion_actions": {"Purchase": ACTION},
                "credentials": {"file": str(self.secret)},
                "linger": "20ms",
                "status_after": "1s",
            }
        ]
        if store is not None:
            config["store"] = {"url": store}
        self.gateway.config.write_text(json.dumps(config))

    def control(self, **values: Any) -> None:
        """Change what the sandbox's Google does."""
        httpx.put(f"{self.url}/_google", json=values).raise_for_status()

    def counted(self) -> Any:
        """What Google counted."""
        return httpx.get(f"{self.url}/_counted", params={"platform": GOOGLE}).json()["platforms"][GOOGLE]

    def account(self) -> Any:
        """The ledger of Google, which must close."""
        account = self.gateway.ledger()[GOOGLE]
        terms = ("delivered", "dead", "expired", "withdrawn", "erased", "pending")
        assert account["queued"] == sum(account[term] for term in terms)
        return account

    def settle(self) -> None:
        self.gateway.wait_settled(GOOGLE)

    def fate(self, order: Order) -> Any:
        shown = self.gateway.fate(order)
        assert shown is not None
        return shown[GOOGLE]

    def refund(self, order: Order, occurrence: str, value: str | None) -> str:
        """Post a refund; its event_id."""
        event = {**order.event, "event_name": "Refund", "occurrence": occurrence}
        event["custom_data"] = {"currency": "EUR", "value": value} if value else {}
        reply = httpx.post(
            f"{self.gateway.url}/v1/events",
            json=event,
            headers={**JSON, "authorization": "Bearer ck_end-to-end"},
        )
        assert reply.status_code == 202, reply.text
        return str(reply.json()["results"][0]["event_id"])

    def outcome(self, event_id: str) -> Any:
        return self.gateway.get(f"/v1/events/{event_id}").json()["destinations"][GOOGLE]


@contextmanager
def site(folder: Path, store: str | None = None) -> Iterator[Site]:
    with sandbox_running() as sandbox:
        made = Site(folder, sandbox, store)
        try:
            made.gateway.start()
            yield made
        finally:
            made.gateway.close()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the gateway keeps things: the URL of a server, or None for a file of its own."""
    if request.param == "sqlite":
        yield None
        return
    server = RedisServer()
    server.start()
    try:
        yield server.url
    finally:
        server.close()


def test_a_credential_that_dies_in_service_parks_the_lane_and_loses_nothing(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        first = orders("G", 40)
        here.gateway.accept(*first)
        here.settle()
        assert here.counted()["events"] == 40
        pid = here.gateway.process.pid

        here.control(revoked=["one@shop.example"])  # its token dies with it
        second = orders("G", 30, start=40)
        here.gateway.accept(*second)
        wait_until("the lane to park", lambda: here.gateway.logged("lane.state", destination=GOOGLE, state="parked"))
        wait_until("it to be said why", lambda: "credentials" in {here.fate(order)["reason"] for order in second})
        assert here.account()["pending"] == 30

        fresh = tmp_path / "fresh.json"
        fresh.write_text(new_account(here.url, "two@shop.example"))
        fresh.replace(here.secret)
        here.settle()
        assert here.gateway.process.pid == pid
        assert here.account()["delivered"] == 70
        counted = here.counted()
        assert counted["events"] == 70
        assert {each["copies"] for each in counted["conversions"]} == {1}
        assert Decimal(counted["money"]["EUR"]) == sum((order.value for order in [*first, *second]), Decimal(0))
        assert "PRIVATE KEY" not in here.gateway.output.read_text()


def test_what_google_refuses_afterwards_shows_beside_delivered_also_after_a_kill(
    tmp_path: Path, store: str | None
) -> None:
    with site(tmp_path, store) as here:
        bad, good = Order("LATE-GOOGLE-1", Decimal(10)), Order("G-1", Decimal(5))
        here.control(status_after_s=0.0, status_replies=[503])
        here.gateway.accept(bad, good)
        here.settle()
        here.gateway.kill()
        here.gateway.start()
        wait_until("the refusal", lambda: here.fate(bad)["rejected_after_acceptance"], timeout_s=40)
        assert here.fate(bad)["rejected_after_acceptance"] == "invalid_event"
        assert here.fate(bad)["outcome"] == "delivered"
        assert here.fate(good)["rejected_after_acceptance"] is None
        assert here.account()["delivered"] == 2
        assert here.gateway.logged("inquiry.answered", destination=GOOGLE)

        # A conversion that is not there is not adjusted: that would make one.
        refund = here.refund(bad, "R-1", "4")
        here.settle()
        assert here.outcome(refund)["reason"] == "purchase_not_delivered"


def test_refunds_leave_what_is_left(tmp_path: Path, store: str | None) -> None:
    with site(tmp_path, store) as here:
        order, other = Order("G-1", Decimal(100)), Order("G-2", Decimal(50))
        orphan = here.refund(Order("G-9", Decimal(5)), "R-1", "5")
        here.gateway.accept(order, other)
        here.settle()
        assert here.outcome(orphan)["outcome"] == "dead"
        here.refund(order, "R-1", "30")
        here.refund(order, "R-2", "20.50")
        here.refund(other, "R-1", None)
        here.settle()
        counted = here.counted()
        assert counted["events"] == 2
        assert counted["money"]["EUR"] == "49.50"
        account = here.account()
        assert (account["delivered"], account["dead"]) == (5, 1)


@pytest.mark.parametrize("fault", [{"kind": "lost_answer"}, {"kind": "429", "retry_after_s": 1}, {"kind": "500"}])
def test_a_fault_loses_and_doubles_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with site(tmp_path) as here:
        httpx.put(f"{here.url}/_faults/{GOOGLE}", json={"faults": [fault]}).raise_for_status()
        some = orders("G", 20)
        here.gateway.accept(*some)
        here.settle()
        counted = here.counted()
        assert (counted["events"], here.account()["delivered"]) == (20, 20)


def test_one_poisoned_order_of_many_is_found_by_its_name(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        some = [*orders("G", 500), Order("POISON-GOOGLE-1", Decimal(1)), *orders("G", 499, start=500)]
        here.gateway.accept(*some)
        here.settle()
        assert (here.account()["delivered"], here.account()["dead"]) == (999, 1)
        fate = here.fate(some[500])
        assert (fate["outcome"], fate["reason"]) == ("dead", "rejected_by_platform")
        requests = httpx.get(f"{here.url}/_requests", params={"platform": GOOGLE, "limit": 1}).json()
        assert requests["totals"][GOOGLE]["requests"] <= 2 * 10 + 1
