"""What the platforms would have counted: repeats, browser twins, windows, money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.sandbox.counting import Copy, Tally, money_text

HOUR = 3600
DAY = 24 * HOUR
PLATFORMS = ("meta", "tiktok", "pinterest", "snapchat")
NAMES = {"meta": "Purchase", "tiktok": "Purchase", "pinterest": "checkout", "snapchat": "PURCHASE"}


def server(**more: Any) -> Copy:
    given: dict[str, Any] = {"account": "1", "event_name": "Lead", "event_id": "x", **more}
    return Copy(source="server", **given)


def pixel(**more: Any) -> Copy:
    given: dict[str, Any] = {"account": "1", "event_name": "Lead", "event_id": "x", **more}
    return Copy(source="pixel", **given)


def count(platform: str, *arrivals: tuple[float, Copy]) -> Tally:
    tally = Tally(platform, 1000)
    for at, copy in arrivals:
        tally.add(copy, 1_795_000_000 + at)
    return tally


PAIRS: dict[str, tuple[str, tuple[float, Copy], tuple[float, Copy], int]] = {
    **{f"{p}: pixel, then server": (p, (0, pixel()), (60, server()), 1) for p in PLATFORMS},
    **{f"{p}: server, then pixel": (p, (0, server()), (60, pixel()), 1) for p in PLATFORMS},
    **{f"{p}: server twice": (p, (0, server()), (HOUR, server()), 1) for p in PLATFORMS},
    **{f"{p}: at 48 hours": (p, (0, server()), (48 * HOUR, pixel()), 1) for p in PLATFORMS},
    **{f"{p}: past 48 hours": (p, (0, server()), (48 * HOUR + 1, pixel()), 2) for p in PLATFORMS},
    **{f"{p}: another id": (p, (0, server()), (1, server(event_id="y")), 2) for p in PLATFORMS},
    **{f"{p}: another name": (p, (0, server()), (1, server(event_name="Search")), 2) for p in PLATFORMS},
    **{f"{p}: another account": (p, (0, server()), (1, server(account="2")), 2) for p in PLATFORMS},
    **{f"{p}: no ids": (p, (0, server(event_id=None)), (1, server(event_id=None)), 2) for p in PLATFORMS},
    "meta: browser id, browser first": (
        "meta",
        (0, pixel(event_id=None, twins=("fb.1.2.3",))),
        (1, server(event_id=None, twins=("c7", "fb.1.2.3"))),
        1,
    ),
    "meta: browser id, server first": (
        "meta",
        (0, server(event_id=None, twins=("fb.1.2.3",))),
        (1, pixel(event_id=None, twins=("fb.1.2.3",))),
        2,
    ),
    "meta: offline order repeated within 7 days": (
        "meta",
        (0, server(offline=True, order_id="7")),
        (7 * DAY, server(offline=True, order_id="7", event_id="y")),
        1,
    ),
    "meta: offline order repeated later": (
        "meta",
        (0, server(offline=True, order_id="7")),
        (7 * DAY + 1, server(offline=True, order_id="7")),
        2,
    ),
    "meta: offline against online": ("meta", (0, server()), (1, server(offline=True, order_id="7")), 2),
    "meta: offline with the same content": (
        "meta",
        (0, server(offline=True, fingerprint="f")),
        (1, server(offline=True, fingerprint="f", event_id="y")),
        1,
    ),
    "tiktok: cookie within 5 minutes": (
        "tiktok",
        (0, pixel(event_id=None, twins=("ttp",))),
        (300, server(event_id=None, twins=("ttp",))),
        1,
    ),
    "tiktok: cookie after 5 minutes": (
        "tiktok",
        (0, pixel(event_id=None, twins=("ttp",))),
        (301, server(event_id=None, twins=("ttp",))),
        2,
    ),
    "pinterest: offline repeated": ("pinterest", (0, server(offline=True)), (1, server(offline=True)), 2),
    "snapchat: offline repeated": ("snapchat", (0, server(offline=True)), (1, server(offline=True)), 1),
    "snapchat: order within 30 days": (
        "snapchat",
        (0, pixel(event_name="PURCHASE", order_id="7")),
        (30 * DAY, server(event_name="PURCHASE", order_id="7", event_id="y")),
        1,
    ),
    "snapchat: order after 30 days": (
        "snapchat",
        (0, pixel(event_name="PURCHASE", order_id="7")),
        (30 * DAY + 1, server(event_name="PURCHASE", order_id="7")),
        2,
    ),
    "snapchat: order of another event": (
        "snapchat",
        (0, pixel(event_name="SIGN_UP", order_id="7")),
        (1, server(event_name="SIGN_UP", order_id="7", event_id="y")),
        2,
    ),
    "meta: order ids do not pair online": (
        "meta",
        (0, server(order_id="7")),
        (1, server(order_id="7", event_id="y")),
        2,
    ),
}


@pytest.mark.parametrize(("platform", "first", "second", "events"), PAIRS.values(), ids=PAIRS.keys())
def test_pairs(platform: str, first: tuple[float, Copy], second: tuple[float, Copy], events: int) -> None:
    tally = count(platform, first, second)
    assert tally.events == events
    assert sum(conversion.copies for conversion in tally.conversions) == 2


def test_the_window_starts_at_the_first_copy_and_does_not_slide() -> None:
    tally = count("tiktok", (0, server()), (47 * HOUR, server()), (49 * HOUR, server()), (50 * HOUR, server()))
    assert [conversion.copies for conversion in tally.conversions] == [2, 2]


WORTH: dict[str, tuple[str, tuple[float, Copy], tuple[float, Copy], dict[str, str]]] = {
    "meta: the browser's value within 5 minutes": (
        "meta",
        (0, server(value=Decimal(10), currency="EUR")),
        (300, pixel(value=Decimal(12), currency="EUR")),
        {"EUR": "12.00"},
    ),
    "meta: the first value after 5 minutes": (
        "meta",
        (0, server(value=Decimal(10), currency="EUR")),
        (301, pixel(value=Decimal(12), currency="EUR")),
        {"EUR": "10.00"},
    ),
    "meta: a browser that came first stays": (
        "meta",
        (0, pixel(value=Decimal(12), currency="EUR")),
        (1, server(value=Decimal(10), currency="EUR")),
        {"EUR": "12.00"},
    ),
    "tiktok: the twin fills what was missing": (
        "tiktok",
        (0, pixel()),
        (300, server(value=Decimal(10), currency="EUR")),
        {"EUR": "10.00"},
    ),
    "tiktok: too late to fill": (
        "tiktok",
        (0, pixel()),
        (301, server(value=Decimal(10), currency="EUR")),
        {},
    ),
    "tiktok: the first value stays": (
        "tiktok",
        (0, pixel(value=Decimal(12), currency="EUR")),
        (1, server(value=Decimal(10), currency="EUR")),
        {"EUR": "12.00"},
    ),
    "snapchat: a later copy fills": (
        "snapchat",
        (0, server()),
        (DAY, server(value=Decimal(10), currency="EUR")),
        {"EUR": "10.00"},
    ),
    "pinterest: the first stands": (
        "pinterest",
        (0, pixel()),
        (1, server(value=Decimal(10), currency="EUR")),
        {},
    ),
}


@pytest.mark.parametrize(("platform", "first", "second", "money"), WORTH.values(), ids=WORTH.keys())
def test_which_copy_is_worth_what(
    platform: str, first: tuple[float, Copy], second: tuple[float, Copy], money: dict[str, str]
) -> None:
    tally = count(platform, first, second)
    assert tally.events == 1
    assert {currency: money_text(total) for currency, total in tally.money.items() if total} == money


def test_money_adds_without_rounding() -> None:
    tally = Tally("meta", 10)
    for n, text in enumerate(["0.1", "0.2", "12345678901234567890123456789.01", "1E-30"]):
        tally.add(server(event_id=str(n), value=Decimal(text), currency="EUR"), n)
    assert money_text(tally.money["EUR"]) == "12345678901234567890123456789.310000000000000000000000000001"
    assert (money_text(Decimal("12.5")), money_text(Decimal(3)), money_text(Decimal("1E+3"))) == (
        "12.50",
        "3.00",
        "1000.00",
    )


def test_old_conversions_leave_their_share_when_they_are_forgotten() -> None:
    tally = Tally("meta", 2)
    for n in range(5):
        tally.add(server(event_id=str(n), value=Decimal("1.10"), currency="EUR"), n)
    assert (tally.events, tally.forgotten, tally.money) == (5, 3, {"EUR": Decimal("5.50")})
    assert [conversion.event_id for conversion in tally.conversions] == ["3", "4"]
    assert tally.add(server(event_id="4"), 6) is False


@pytest.mark.anyio
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_received_and_counted_differ_by_the_repeats(lab: Any, platform: str) -> None:
    event = lab.event(platform)
    browser = {"event_name": NAMES[platform], "event_id": event["event_id"], "order_id": "70015"}
    await lab.post(platform, [event])
    await lab.post(platform, [event])
    assert await lab.pixel(platform, **browser, value="1.00", currency="eur") is False
    await lab.clock(48 * HOUR + 1)
    assert await lab.pixel(platform, **browser) is (platform != "snapchat")
    received = await lab.get("/_received", platform=platform, event_id=event["event_id"])
    assert [copy["accepted_copies"] for copy in received["events"]] == [2, 2]
    assert received["events"][0]["event"] == event
    counted = await lab.counted(platform)
    assert counted["events"] == (1 if platform == "snapchat" else 2)
    first = counted["conversions"][0]
    assert first["account"] == lab.accounts[platform]
    assert first["sources"] == ["server", "pixel"]
    assert first["copies"] == (4 if platform == "snapchat" else 3)


@pytest.mark.anyio
async def test_counted_money_of_all_platforms(lab: Any) -> None:
    for platform in PLATFORMS:
        await lab.post(platform, [lab.event(platform)])
    await lab.post("snapchat", [lab.event("snapchat", {"event_name": "PAGE_VIEW", "custom_data": lab.dropped})])
    summary = await lab.get("/_counted", summary="true")
    assert summary["platforms"] == {
        "meta": {"events": 1, "money": {"EUR": "42.50"}, "forgotten": 0},
        "tiktok": {"events": 1, "money": {"USD": "41.50"}, "forgotten": 0},
        "pinterest": {"events": 1, "money": {"USD": "41.50"}, "forgotten": 0},
        "snapchat": {"events": 2, "money": {"EUR": "59.90"}, "forgotten": 0},
        "google": {"events": 0, "money": {}, "forgotten": 0},
    }


@pytest.mark.anyio
async def test_offline_sources_of_each_platform(lab: Any) -> None:
    shop = lab.event("meta", {"action_source": "physical_store", "event_id": "a"})
    await lab.post("meta", [shop, {**shop, "event_id": "b"}])
    assert (await lab.counted("meta"))["events"] == 1
    bare = lab.event("meta", {"action_source": "physical_store", "custom_data.order_id": lab.dropped})
    later = {**bare, "event_time": bare["event_time"] + 1}
    await lab.post("meta", [bare, bare, later])
    assert (await lab.counted("meta"))["events"] == 3
    offline = lab.event("pinterest", {"action_source": "offline"})
    await lab.post("pinterest", [offline, offline])
    assert (await lab.counted("pinterest"))["events"] == 2
