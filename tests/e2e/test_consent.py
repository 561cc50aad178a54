"""Consent end to end: what is denied never leaves, and what is limited leaves in each platform's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.consent.table import LISTED_SITUATIONS, SITUATIONS
from tests.e2e.harness import (
    META,
    PINTEREST,
    PLATFORMS,
    SNAPCHAT,
    TIKTOK,
    Sandbox,
    gateway_running,
    orders,
    source,
)

REGIONAL = source(consent_policy="regional", consent={"default_jurisdiction": "DE"})


def posted(number: int, consent: dict[str, Any], **user: Any) -> dict[str, Any]:
    """An order whose shopper said this."""
    (order,) = orders("C", 1, start=number)
    event = order.event
    return {**event, "consent": consent, "user": {**event["user"], "country": None, **user}}


def test_nothing_leaves_for_a_shopper_who_did_not_allow_it(tmp_path: Path, sandbox: Sandbox) -> None:
    said = [dict(each) for each in (*SITUATIONS.values(), *LISTED_SITUATIONS.values())]
    events = [posted(number, each) for number, each in enumerate(said) if each.get("collected_at") is not True]
    with gateway_running(tmp_path, sandbox, sources=[REGIONAL]) as gateway:
        results = gateway.post_events(events)
        allowed: dict[str, set[str]] = {name: set() for name in PLATFORMS}
        for result in results:
            for name, verdict in result["destinations"].items():
                if verdict["outcome"] == "queued":
                    allowed[name].add(result["event_id"])
        assert all(allowed.values())
        gateway.wait_settled()
        for name in PLATFORMS:
            assert set(sandbox.counted(name)) == allowed[name]
            assert len(allowed[name]) < len(events) / 2


def test_an_opt_out_leaves_in_each_platform_s_own_words(tmp_path: Path, sandbox: Sandbox) -> None:
    event = posted(1, {"us_privacy": "1YYN"}, country="US", state="CA", first_name="Jane", date_of_birth="1990-02-03")
    with gateway_running(tmp_path, sandbox, sources=[REGIONAL]) as gateway:
        (result,) = gateway.post_events([event])
        assert {verdict["outcome"] for verdict in result["destinations"].values()} == {"queued"}
        assert all(verdict["limited"] for verdict in result["destinations"].values())
        gateway.wait_settled()
    taken = {name: sandbox.events(name) for name in PLATFORMS}
    assert all(len(events) == 1 for events in taken.values())
    (meta,), (tiktok,), (pinterest,), (snapchat,) = (taken[name] for name in (META, TIKTOK, PINTEREST, SNAPCHAT))
    assert meta["data_processing_options"] == ["LDU"]
    assert (meta["data_processing_options_country"], meta["data_processing_options_state"]) == (1, 1000)
    assert not {"fn", "db", "st"} & meta["user_data"].keys()
    assert tiktok["limited_data_use"] is True
    assert (pinterest["opt_out"], pinterest["custom_data"]["opt_out_type"]) == (True, "LDP")
    assert snapchat["data_processing_options"] == ["LMU"]
    assert not {"fn", "db"} & {*pinterest["user_data"], *snapchat["user_data"]}
