"""Every code the platforms' pages name, and what follows from it, written down a second time from the pages.

The adapters' own tables must say the same, and nothing that is not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from app.destinations.meta.tables import CODES as META_CODES
from app.destinations.meta.tables import SUBCODES as META_SUBCODES
from app.destinations.pinterest.tables import CODES as PINTEREST_CODES
from app.destinations.pinterest.tables import STATUSES as PINTEREST_STATUSES
from app.destinations.snapchat.tables import STATUSES as SNAPCHAT_STATUSES
from app.destinations.tiktok.tables import CODES as TIKTOK_CODES
from app.model import Delivered, Park, Rejected, Retry, Split
from tests.destinations import support as s

FIVE_MINUTES, QUARTER, HOUR = timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1)


def alike(codes: Iterable[Any], *what: Any) -> dict[Any, tuple[Any, ...]]:
    return dict.fromkeys(codes, what)


META: dict[int, tuple[Any, ...]] = {
    **alike([1, 2], "retry"),
    **alike([368], "retry", HOUR),
    **alike([5000], "retry", None, 5),
    **alike([4, 17, 32, 341, 613, *range(80000, 80015)], "throttled"),
    **alike([102, 104, 190, 3, 10, *range(200, 300), 803, 2635, 2655], "park"),
    **alike([100, 105], "reject"),
}
META_100: dict[int, tuple[Any, ...]] = {
    **alike([33], "park"),
    **alike(
        [2804001, 2804003, 2804004, 2804008, 2804009, 2804010, 2804016, 2804019, 2804023, 2804036, 2804043, 2804050],
        "reject",
    ),
    **alike([2804066, 2804069, 2804079, 2804087, 2804116], "reject"),
}
META_100_UNEXPLAINED = [2804007, 2804014, 2804017, 2804048, 2804099]
TIKTOK: dict[int, tuple[Any, ...]] = {
    **alike([20001, 40050], "deliver"),
    **alike([40000, 40002, 40061, 40062, 40063], "reject"),
    **alike([40001, 40003, 40113, 40117, 40118, 40124, 40125, 40130], "park"),
    **alike([40102, 40104, 40105], "park"),
    **alike([40006, 40051, 41001, 40400], "park"),
    **alike([40100], "throttled", FIVE_MINUTES),
    **alike([40132, 61000], "throttled"),
    **alike([40202, 50000, 50002, 60001, *range(51000, 53000)], "retry"),
}
PINTEREST: dict[int, tuple[Any, ...]] = {
    **alike([8], "throttled"),
    **alike([4197], "retry", QUARTER),
    **alike([2, 3, 29], "park"),
    **alike([4196], "reject"),
}
PINTEREST_BY_STATUS: dict[int, tuple[Any, ...]] = {
    **alike([429], "throttled"),
    **alike([408, 500, 502, 503, 504], "retry"),
    **alike([401, 403, 404], "park"),
    **alike([400, 413], "reject"),
}
SNAPCHAT_BY_STATUS: dict[int, tuple[Any, ...]] = {
    **alike([429], "throttled"),
    **alike([408, 500, 502, 503, 504], "retry"),
    **alike([401, 403, 404, 410], "park"),
    **alike([400, 413, 422], "reject"),
}


def test_the_tables_hold_these_codes_and_no_others() -> None:
    assert META.keys() == META_CODES.keys()
    assert META_100.keys() == META_SUBCODES.keys()
    assert TIKTOK.keys() == TIKTOK_CODES.keys()
    assert PINTEREST.keys() == PINTEREST_CODES.keys()
    assert {status for status in PINTEREST_BY_STATUS if status < 500} == PINTEREST_STATUSES.keys()
    assert {status for status in SNAPCHAT_BY_STATUS if status < 500} == SNAPCHAT_STATUSES.keys()


def word(verdict: Any, size: int) -> tuple[Any, ...]:
    """A verdict in the words of the tables above: its kind, the wait, the bound on tries."""
    if isinstance(verdict, Park):
        return ("park",)
    if isinstance(verdict, Split):
        return ("reject",)
    assert len(verdict) == size
    assert len(set(map(repr, verdict))) == 1
    result = verdict[0]
    if isinstance(result, Delivered):
        return ("deliver",)
    if isinstance(result, Rejected):
        assert size == 1, "one event's fault was laid on its neighbours"
        return ("reject",)
    assert isinstance(result, Retry)
    kind = {"rate_limited": "throttled", "platform_error": "retry"}[result.reason]
    told: tuple[Any, ...] = (kind, result.after, result.max_attempts)
    while told[-1] is None:
        told = told[:-1]
    return told


def check(name: str, answer: Any, expected: tuple[Any, ...]) -> None:
    for size in (1, 3):
        assert word(s.read(name, answer, size), size) == expected


@pytest.mark.parametrize("http", [200, 400, 401, 403, 500])
def test_meta(http: int) -> None:
    for code, expected in META.items():
        check("meta", s.reply(http, {"error": {"code": code, "message": "words"}}), expected)
    for subcode, expected in META_100.items():
        error = {"code": 100, "error_subcode": subcode, "message": "words"}
        check("meta", s.reply(http, {"error": error}), expected)
    for subcode in META_100_UNEXPLAINED:
        check("meta", s.reply(http, {"error": {"code": 100, "error_subcode": subcode}}), ("reject",))


def test_what_meta_calls_transient_is_tried_again_but_for_limits_and_tokens() -> None:
    for code, expected in META.items():
        answer = s.reply(400, {"error": {"code": code, "is_transient": True}})
        check("meta", answer, expected if expected[0] in ("throttled", "park") else ("retry",))


@pytest.mark.parametrize("http", [200, 400, 401, 403, 429, 500])
def test_tiktok(http: int) -> None:
    for code, expected in TIKTOK.items():
        answer = s.reply(http, {"code": code, "message": "words", "data": {}})
        if expected == ("deliver",) and http >= 400 and code != 40050:
            expected = ("retry",)  # noqa: PLW2901  done, says the body, and the status does not
        check("tiktok", answer, expected)


@pytest.mark.parametrize("http", [200, 400, 401, 403, 404, 418])
def test_pinterest_by_code(http: int) -> None:
    for code, expected in PINTEREST.items():
        check("pinterest", s.reply(http, {"code": code, "message": "words"}), expected)


def test_pinterest_by_status() -> None:
    for http, expected in PINTEREST_BY_STATUS.items():
        check("pinterest", s.reply(http, {"code": 1, "message": "words"}), expected)


def test_snapchat_by_status() -> None:
    for http, expected in SNAPCHAT_BY_STATUS.items():
        check("snapchat", s.reply(http, {"status": "INVALID", "reason": "words"}), expected)
    check("snapchat", s.reply(200, {"status": "INVALID", "reason": "words"}), ("reject",))


ERRORS: dict[str, list[Any]] = {
    "meta": [{"error": {"code": code}} for code in (*META, 999999)]
    + [{"error": {"code": 100, "error_subcode": subcode}} for subcode in META_100]
    + [{"error": {"code": 1}, "events_received": 3, "fbtrace_id": "A"}, {"events_received": 0}],
    "tiktok": [{"code": code, "message": "OK"} for code in (*TIKTOK, 49999, 99999, -1) if code not in (20001, 40050)],
    "pinterest": [{"code": code, "message": "no"} for code in (*PINTEREST, 953, 99)]
    + [
        {"num_events_received": 3, "num_events_processed": 3, "events": []},
        {"num_events_received": 3, "num_events_processed": 0, "events": [{"status": "failed"}] * 3},
        {"events": [{"status": "failed", "error_message": "x"}] * 3},
    ],
    "snapchat": [
        {"status": "INVALID", "reason": "no"},
        {"status": "INVALID", "event": 1, "errors": {"codes": ["517"]}},
        {"status": "FAILURE"},
        {"reason": "Events have been processed successfully."},
    ],
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_200_that_carries_an_error_delivers_nothing(name: str) -> None:
    for body in ERRORS[name]:
        verdict = s.read(name, s.reply(200, body), 3)
        if not isinstance(verdict, Park | Split):
            assert not [result for result in verdict if isinstance(result, Delivered)], body
