"""Every judgement both ways: what is fine is told as fine, what is not is told with the next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.doctor import CHECKS, Finding, Level, is_sound, unknown
from app.doctor.findings import percent, span
from app.doctor.setup import (
    Answer,
    ClockReading,
    Probe,
    judge_clock,
    judge_config,
    judge_store,
    judge_tokens,
    judge_versions,
)
from app.doctor.traffic import (
    Sample,
    judge_consent,
    judge_event_names,
    judge_freshness,
    judge_lanes,
    judge_leaks,
    judge_ledger,
    judge_match_keys,
    judge_pairs,
    judge_rejects,
)
from app.errors import Fault

OK, WARNING, PROBLEM, UNKNOWN = Level.OK, Level.WARNING, Level.PROBLEM, Level.UNKNOWN


def levels(found: Sequence[Finding]) -> list[Level]:
    for finding in found:
        assert finding.check in CHECKS
        assert finding.words
        assert finding.level in {OK, UNKNOWN} or finding.next_step
    return [finding.level for finding in found]


@pytest.mark.parametrize(
    ("faults", "warnings", "destinations", "expected"),
    [
        ((), (), 2, [OK]),
        ((), (), 0, [PROBLEM]),
        ((Fault("a", "b", "is wrong"), Fault("c", "d", "too")), (), 0, [PROBLEM, PROBLEM]),
        ((), (Fault("destinations.0", "test_mode", "takes test events"),), 2, [WARNING]),
        ((), (Fault("store.durability", "weak_durability", "x"), Fault("d.0", "version_ends", "x")), 2, [OK]),
    ],
)
def test_config(faults: Any, warnings: Any, destinations: int, expected: list[Level]) -> None:
    assert levels(judge_config(faults, warnings, 1, destinations)) == expected


@pytest.mark.parametrize(
    ("durability", "warnings", "unready", "expected"),
    [
        ("fsync", (), None, [OK]),
        ("fsync", (), "the disk is full", [PROBLEM]),
        ("memory", (Fault("store.durability", "weak_durability", "x"),), None, [PROBLEM]),
        ("declared", (Fault("store.durability", "declared_durability", "x"),), None, [WARNING]),
    ],
)
def test_store(durability: str, warnings: Any, unready: str | None, expected: list[Level]) -> None:
    assert levels(judge_store(durability, warnings, unready, was_asked=True)) == expected


@pytest.mark.parametrize(
    ("platforms", "gateway", "expected"),
    [
        ([0.2, -0.8], 0.5, OK),
        ([], 0.0, UNKNOWN),
        ([30.0], 30.4, OK),  # this machine is wrong, the gateway's is not
        ([0.0], 45.0, WARNING),
        ([0.0], -400.0, PROBLEM),
        ([400.0], None, PROBLEM),
        ([0.0, 0.0, 9000.0], 0.0, OK),  # one platform that is wrong proves nothing
    ],
)
def test_clock(platforms: list[float], gateway: float | None, expected: Level) -> None:
    readings = [ClockReading(f"p{number}", ahead) for number, ahead in enumerate(platforms)]
    found = judge_clock(readings, None if gateway is None else ClockReading("gateway", gateway))
    assert levels([found]) == [expected]


def test_a_wrong_clock_is_told_with_its_direction() -> None:
    platforms = [ClockReading("meta", 0.0)]
    assert "behind" in judge_clock(platforms, ClockReading("gateway", -400.0)).words
    assert "6 minutes ahead of" in judge_clock(platforms, ClockReading("gateway", 400.0)).words


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(Answer.ACCEPTED, OK), (Answer.REFUSED, PROBLEM), (Answer.UNSURE, UNKNOWN), (Answer.NOT_ASKED, UNKNOWN)],
)
def test_tokens(answer: Answer, expected: Level) -> None:
    assert levels(judge_tokens([Probe("meta", answer, "in words")], {})) == [expected]


def test_what_was_delivered_tells_where_nobody_can_be_asked() -> None:
    probes = [Probe(name, Answer.NOT_ASKED, "no call") for name in ("tiktok", "acme")]
    assert levels(judge_tokens(probes, {"tiktok": 3})) == [OK, UNKNOWN]
    assert levels(judge_tokens([Probe("meta", Answer.REFUSED, "code 190")], {"meta": 3})) == [PROBLEM]


def test_no_destination_is_no_good_token() -> None:
    assert levels(judge_tokens([], {})) == [UNKNOWN]


@pytest.mark.parametrize(
    ("notices", "ended", "expected"),
    [
        ([], frozenset(), [OK]),
        ([Fault("destinations.0", "test_mode", "x")], frozenset(), [OK]),
        ([Fault("destinations.0.api_version", "version_ends", "x")], frozenset(), [WARNING]),
        ([Fault("destinations.0.api_version", "version_ends", "x")], {"destinations.0.api_version"}, [PROBLEM]),
        ([Fault("destinations.0.api_version", "version_unknown", "x")], frozenset(), [WARNING]),
    ],
)
def test_versions(notices: list[Fault], ended: frozenset[str], expected: list[Level]) -> None:
    assert levels(judge_versions(notices, frozenset(ended), {"meta": "v26.0"})) == expected


def lane(state: str = "running", **more: Any) -> dict[str, Any]:
    return {"state": state, "reason": None, "ready": 1, "later": 0, "oldest_age_s": 5.0, "paused_events": [], **more}


@pytest.mark.parametrize(
    ("workers", "told", "expected"),
    [
        (1, lane(), [OK]),
        (0, lane(), [PROBLEM]),
        (1, lane("paused", reason="incident 7"), [WARNING]),
        (1, lane("parked", reason="credentials"), [PROBLEM]),
        (1, lane("open"), [PROBLEM]),
        (1, lane("dreaming"), [UNKNOWN]),
        (1, lane(oldest_age_s=7200.0), [WARNING]),
        (1, lane(oldest_age_s=None), [OK]),
        (1, lane(paused_events=[{"event_name": "PageView"}]), [WARNING]),
    ],
)
def test_lanes(workers: int, told: dict[str, Any], expected: list[Level]) -> None:
    assert levels(judge_lanes(workers, {"meta": told})) == expected


def account(queued: int = 3, delivered: int = 3, money: str = "30.00") -> dict[str, Any]:
    zero = {"dead": 0, "expired": 0, "withdrawn": 0, "erased": 0, "pending": 0}
    euros = {"queued": money, "delivered": "30.00", **dict.fromkeys(zero, "0")}
    return {"queued": queued, "delivered": delivered, **zero, "money": {"EUR": euros}}


@pytest.mark.parametrize(
    ("told", "differences", "expected"),
    [
        (account(), 0, [OK]),
        (account(queued=4), 0, [PROBLEM]),
        (account(money="30.01"), 0, [PROBLEM]),
        (account(), 2, [PROBLEM]),
    ],
)
def test_ledger(told: dict[str, Any], differences: int, expected: list[Level]) -> None:
    assert levels(judge_ledger({"meta": told}, differences)) == expected


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Sample(5, 60.0, 3600.0, queued={"meta": 5}, delivered={"meta": 5}), [OK]),
        (Sample(0, None, 604800.0), [PROBLEM]),
        (Sample(5, 90_000.0, 604800.0, queued={"meta": 5}, delivered={"meta": 5}), [WARNING]),
        (Sample(5, 60.0, 3600.0, queued={"meta": 5}, delivered={"meta": 0}), [PROBLEM]),
        (Sample(5, 60.0, 3600.0, queued={"meta": 5}, pending={"meta": 5}), [OK]),  # the lane tells
    ],
)
def test_freshness(sample: Sample, expected: list[Level]) -> None:
    assert levels(judge_freshness("shop", sample, 86_400.0)) == expected


def test_event_names() -> None:
    assert levels(judge_event_names({"Purchase": 7, "Refund": 1})) == [OK]
    assert levels(judge_event_names({})) == [UNKNOWN]
    (found,) = judge_event_names({"Purchase": 7, "Purchasse": 2})
    assert (found.level, found.next_step) == (WARNING, "rename Purchasse to Purchase")
    (found,) = judge_event_names({"GardenPartyBooked": 2})
    assert found.level is WARNING
    assert found.next_step is not None and found.next_step.startswith("use a standard name")


def test_many_custom_names_are_one_finding_with_the_biggest_of_them() -> None:
    names = {"Purchase": 9, "Purchasse": 2, "order_complete": 1500, **{f"Party{'x' * n}": 3 for n in range(3000)}}
    (found,) = judge_event_names(names)
    assert levels([found]) == [WARNING]
    assert found.words.startswith("10,502 events with 3,002 custom names") and "order_complete 1,500" in found.words
    assert found.words.endswith("and 2,997 more") and len(found.words) < 300
    assert found.next_step is not None
    assert found.next_step.startswith("rename order_complete to Purchase, Purchasse to Purchase; use a standard name")


def test_a_gateway_that_never_had_an_order_is_new_and_not_broken() -> None:
    (found,) = judge_freshness("shop", Sample(0, None, 604800.0), 86_400.0, is_new=True)
    assert found.level is UNKNOWN
    assert found.next_step is not None and "convey send" in found.next_step
    assert levels(judge_freshness("shop", Sample(0, None, 604800.0), 86_400.0, is_new=False)) == [PROBLEM]


def row(**verdicts: int) -> dict[str, Any]:
    return {
        "source": "shop",
        "destination": "meta",
        "event_name": "Purchase",
        "events": sum(verdicts.values()),
        "words": "Purchase: so and so",
        "verdicts": verdicts,
    }


CONFLICTS = {"source": "shop", "event_name": "Purchase", "id_reused": 0, "order_has_another_id": 0}


@pytest.mark.parametrize(
    ("rows", "conflicts", "unwatched", "expected"),
    [
        ([row(paired=99, server_only=1)], [], [], [OK]),
        ([row(paired=97, name_mismatch=3)], [], [], [PROBLEM]),
        ([row(paired=90, browser_only=10)], [], [], [WARNING]),
        ([row(paired=2, server_only=98)], [], [], [WARNING]),
        ([row(paired=90, value_mismatch=10)], [], [], [WARNING]),
        ([row(paired=1, name_mismatch=3)], [], [], [OK]),  # too few to say
        ([], [], [], [UNKNOWN]),
        ([], [], ["shop"], [UNKNOWN]),
        ([row(paired=99)], [{**CONFLICTS, "id_reused": 4}], [], [PROBLEM]),
        ([row(paired=99)], [{**CONFLICTS, "order_has_another_id": 4}], [], [WARNING]),
    ],
)
def test_pairs(rows: Any, conflicts: Any, unwatched: Any, expected: list[Level]) -> None:
    assert levels(judge_pairs(rows, conflicts, unwatched)) == expected


@pytest.mark.parametrize(
    ("without", "events", "expected"),
    [(0, 100, OK), (5, 100, OK), (6, 100, WARNING), (50, 100, PROBLEM), (19, 19, UNKNOWN)],
)
def test_consent(without: int, events: int, expected: Level) -> None:
    assert levels([judge_consent(without, events, "since the gateway started")]) == [expected]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, [OK]),
        ({("email", "redacted"): 0}, [OK]),
        ({("email", "redacted"): 3}, [WARNING]),
        ({("email", "reported"): 3}, [PROBLEM]),
        ({("email", "reported"): 3, ("phone", "redacted"): 1, ("email", "redacted"): 2}, [WARNING, PROBLEM]),
    ],
)
def test_leaks(found: Any, expected: list[Level]) -> None:
    assert levels(judge_leaks(found)) == expected


def test_match_keys() -> None:
    told = {"destination": "meta", "event_name": "Purchase", "dropped": []}
    assert levels(judge_match_keys([told])) == [OK]
    assert levels(judge_match_keys([])) == [UNKNOWN]
    assert levels(judge_match_keys([{**told, "dropped": ["em"]}])) == [WARNING]


def test_rejects() -> None:
    assert levels(judge_rejects([])) == [OK]
    told = {"pointer": "/custom_data/value", "code": "malformed", "count": 12}
    (found,) = judge_rejects([told])
    assert (found.level, found.words) == (WARNING, "12 events refused: /custom_data/value malformed")
    assert levels(judge_rejects([told] * 7)) == [WARNING] * 6


def test_what_could_not_be_checked_is_never_fine() -> None:
    nothing = [unknown("clock", "nobody was asked")]
    assert nothing[0].level is UNKNOWN
    assert is_sound(nothing) and not is_sound(nothing, is_strict=True)
    assert not is_sound([Finding("lanes", PROBLEM, "x", "y")])
    assert is_sound([Finding("lanes", WARNING, "x", "y")])
    assert not is_sound([Finding("lanes", WARNING, "x", "y")], is_strict=True)


def test_numbers_in_words() -> None:
    assert [percent(0, 5), percent(1, 10_000), percent(9_999, 10_000), percent(5, 5)] == [
        "0 %",
        "0.1 %",
        "99.9 %",
        "100 %",
    ]
    assert [span(1), span(90), span(7200), span(200_000)] == ["1 second", "1 minute", "2 hours", "2 days"]
