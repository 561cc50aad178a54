"""Pages of the docs in a real Chromium: their pixels carry the id, their receipts arrive, the audit says what met.

`make browser` runs this file. The gateway is a process of its own, the platforms are the sandbox, the shop's pages and
scripts are those of docs/pixels.md. All pages are visited first, as the audit waits a minute for the second copy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import on_page
from tests.browser.shop import GOOGLE_ACTION, RENAMED, SINGLE, TYPED, Shop
from tests.e2e.harness import KEY, PLATFORMS, Gateway, Order, Sandbox, sandbox_running, source, wait_until
from tests.e2e.test_google import new_account

RECEIPTS_KEY = "ck_receipts-only"
ORDERS = 6
PAGE_S = 90
JUDGED_S = 240


@dataclass(frozen=True, slots=True)
class Visited:
    """Everything that happened, once the audit has judged it."""

    shop: Shop
    sandbox: Sandbox
    gateway: Gateway
    audit: dict[str, Any]

    def verdicts(self, destination: str) -> dict[str, int]:
        """How many events got which verdict there."""
        return {name: number for name, number in self.row(destination)["verdicts"].items() if number}

    def row(self, destination: str) -> dict[str, Any]:
        (row,) = [row for row in self.audit["rows"] if row["destination"] == destination]
        return dict(row)


def gateway_for(folder: Path, sandbox: Sandbox, shop: Shop) -> Gateway:
    """A gateway with all five destinations, whose source takes receipts from the shop's pages."""
    web = source(receipts=True, receipt_origins=[shop.origin], pair_after="1m")
    web["keys"].append({"hash": source(key=RECEIPTS_KEY)["keys"][0], "scopes": ["receipts"]})
    gateway = Gateway(folder / "gateway", sandbox.url, sources=[web])
    config = json.loads(gateway.config.read_text())
    secret = folder / "google.json"
    secret.write_text(new_account(sandbox.url, "one@shop.example"))
    google: dict[str, Any] = {"name": "google", "type": "google", "base_url": sandbox.url}
    google |= {"operating_account": "123-456-7890"}
    google |= {"conversion_actions": {"Purchase": GOOGLE_ACTION}, "tags": {"Purchase": "AW-1/AbC"}, "linger": "20ms"}
    config["destinations"].append({**google, "credentials": {"file": str(secret)}})
    gateway.config.write_text(json.dumps(config))
    return gateway


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    with sandbox_running() as sandbox:
        shop = Shop(sandbox)
        gateway = gateway_for(tmp_path_factory.mktemp("browser"), sandbox, shop)
        shop.convey = {"url": gateway.url, "public_url": gateway.url, "key": KEY, "receipts_key": RECEIPTS_KEY}
        shop.start()
        try:
            gateway.start()
            visit(gateway, shop, "PAGE-FIRST", "thanks")
            visit(gateway, shop, "BACKEND-FIRST", "thanks", is_posted_first=True)
            visit(gateway, shop, "RENAMED", RENAMED)
            visit(gateway, shop, "APP", SINGLE)
            visit(gateway, shop, "TYPED", TYPED)
            visit(gateway, shop, "FOREIGN", "thanks", shop.other_origin)
            wait_until("everything to be delivered", lambda: not gateway.pending(*PLATFORMS, "google"), 60)
            for name, account in gateway.ledger().items():
                assert account["delivered"] == ORDERS, f"{name}: {account}\n{gateway.tail()}"
            audit = wait_until("the audit to have judged all", lambda: judged(gateway, ORDERS), JUDGED_S, every_s=0.5)
            yield Visited(shop, sandbox, gateway, audit)
        finally:
            gateway.close()
            shop.close()


def visit(
    gateway: Gateway, shop: Shop, number: str, page: str, origin: str = "", *, is_posted_first: bool = False
) -> None:
    """A shopper's browser opens the page of an order and leaves it at once; the backend posts the order."""
    order = Order(number, Decimal("129.90"))
    shop.totals[number] = order.value
    event = order.event
    if is_posted_first:
        assert [result["status"] for result in gateway.post_events([event])] == ["accepted"]
    else:  # as a payment provider's webhook does, which never saw the shopper
        del event["user"]["client_ip_address"], event["user"]["client_user_agent"]
    before = len(shop.fired)
    expected = 2 if page == SINGLE else 5
    with on_page(f"{origin or shop.origin}/{page}/{number}") as said:
        try:
            wait_until(f"the page of {number} to be left", lambda: number in shop.left, PAGE_S)
            wait_until("its pixels to have fired", lambda: len(shop.fired) >= before + expected, PAGE_S)
            wait_until("its receipt to have come", lambda: len(receipts(gateway)) >= len(shop.totals), PAGE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{said.read_text(errors='replace')[-2000:]}\n{gateway.tail()}") from None
    if not is_posted_first:
        assert [result["status"] for result in gateway.post_events([event])] == ["accepted"]


def receipts(gateway: Gateway, method: str = "POST") -> list[dict[str, Any]]:
    """The requests to the receipts' endpoint, as the gateway logged them."""
    return gateway.logged("request", route="/v1/browser-receipts", method=method)


def judged(gateway: Gateway, events: int) -> dict[str, Any] | None:
    """The audit, once it has this many events at each destination."""
    told: dict[str, Any] = gateway.get("/v1/audit/dedup").json()
    rows = {row["destination"]: row["events"] for row in told["rows"]}
    return told if rows == dict.fromkeys([*PLATFORMS, "google"], events) else None


def test_the_audit_says_what_met(visited: Visited, figures: Callable[[str], None]) -> None:
    assert visited.verdicts("meta") == {"paired": 5, "server_only": 1}
    assert visited.verdicts("tiktok") == {"paired": 4, "name_mismatch": 1, "server_only": 1}
    for name in ("pinterest", "snapchat", "google"):  # the app fires no pixel of theirs
        assert visited.verdicts(name) == {"paired": 4, "server_only": 2}
    assert visited.audit["conflicts"] == []
    figures(f"{ORDERS} pages, {len(visited.shop.fired)} pixel calls, {len(receipts(visited.gateway))} receipts")
    for row in visited.audit["rows"]:
        figures(row["words"])


def test_each_platform_counts_one(visited: Visited) -> None:
    numbers = ("PAGE-FIRST", "BACKEND-FIRST", "RENAMED", "APP", "TYPED", "FOREIGN")
    once = Counter({f"purchase_{number}": 1 for number in numbers})
    assert {name: visited.sandbox.counted(name) for name in ("meta", "pinterest", "snapchat")} == dict.fromkeys(
        ("meta", "pinterest", "snapchat"), once
    )
    assert visited.sandbox.counted("tiktok") == once + Counter(["purchase_RENAMED"])  # both names count
    assert sorted(each["order_id"] for each in visited.sandbox.conversions("google")) == sorted(numbers)
    assert {each["copies"] for each in visited.sandbox.conversions("meta")} == {2}


def test_a_page_under_another_name_is_told(visited: Visited) -> None:
    row = visited.row("tiktok")
    assert row["pixel_names"] == {"CompletePayment": 1}
    assert "name mismatch: both copies count; the pixel says CompletePayment" in row["words"]


def test_a_receipt_of_another_origin_is_refused(visited: Visited) -> None:
    statuses = Counter(line["code"] for line in receipts(visited.gateway))
    assert statuses == {202: 5, 403: 1}


def test_a_beacon_asks_leave_only_where_it_says_json(visited: Visited) -> None:
    assert [line["code"] for line in receipts(visited.gateway, "OPTIONS")] == [204]


def test_the_order_has_what_only_the_page_knew(visited: Visited) -> None:
    events = {event["event_id"]: event["user_data"] for event in visited.sandbox.events("meta")}
    user = events["purchase_PAGE-FIRST"]
    assert (user["fbp"], user["client_ip_address"]) == ("fb.1.1795168500000.4711", "203.0.113.9")
    assert "Chrome" in user["client_user_agent"]
    assert "fbp" not in events["purchase_BACKEND-FIRST"]  # posted before there was a page
