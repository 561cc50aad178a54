"""Asking a platform what it thinks: when, who asks, what is shown, and what becomes of it when nobody answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.delivery.board import Board
from app.delivery.quality import FIRST_BACKOFF, LEASE, QualityWatch
from app.delivery.sender import Sender
from app.destinations.base import Measure, Quality, Reading
from app.errors import Reason
from app.metrics import Metrics
from app.model import HttpCall, HttpReply, Retry
from tests.delivery.support import NAME, Setup, adapter, config, opened
from tests.factories import START, FrozenClock

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def told(reply: HttpReply) -> Sequence[Reading] | Retry:
    if reply.status == 500:
        raise ValueError("unheard of")
    if reply.status != 200:
        return Retry(Reason.PLATFORM_ERROR, timedelta(hours=2), "not now")
    return [
        Reading(Measure.MATCH_QUALITY, json.loads(reply.body)["score"], "Purchase"),
        Reading(Measure.KEY_COVERAGE, 0.5, "Purchase", "email"),
        Reading(Measure.STATUS, 1, key=json.loads(reply.body).get("status", "good")),
    ]


class Asked:
    """A platform with an opinion, and the workers of one store that may ask for it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.calls = 0
        self.answer: httpx.Response | Exception = httpx.Response(200, json={"score": 7.5})
        self.sender = Sender(httpx.MockTransport(self._answer))
        self.every: timedelta | None = DAY

    def worker(self) -> tuple[QualityWatch, Board, Metrics]:
        quality: Quality[Any] = Quality(
            every=lambda _: self.every,
            ask=lambda _: HttpCall("https://platform.example/quality", b"", (), method="GET"),
            read=told,
        )
        metrics = Metrics("test", ["shop"], [NAME])
        board = Board(self.setup.store, self.setup.clock.now)
        lane = config(destination=dataclasses.replace(adapter(), quality=quality))
        return QualityWatch(lambda: lane, quality, board, self.sender, metrics, self.setup.clock.now), board, metrics

    def _answer(self, _request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    async with opened(tmp_path, FrozenClock(START)) as setup:
        made = Asked(setup)
        yield made
        await made.sender.close()


def score(metrics: Metrics) -> float | None:
    labels = {"destination": NAME, "event_name": "Purchase"}
    return metrics.registry.get_sample_value("convey_platform_match_quality", labels)


def status(metrics: Metrics, word: str) -> float | None:
    labels = {"destination": NAME, "status": word}
    return metrics.registry.get_sample_value("convey_platform_quality_status", labels)


async def test_one_of_the_workers_asks_and_all_of_them_show_it(asked: Asked) -> None:
    (one, _, first), (other, board, second) = asked.worker(), asked.worker()
    await one.turn()
    assert (asked.calls, score(first)) == (1, 7.5)
    await board.refresh()
    await other.turn()
    await one.turn()
    assert (asked.calls, score(second)) == (1, 7.5)
    coverage = {"destination": NAME, "event_name": "Purchase", "key": "email"}
    assert second.registry.get_sample_value("convey_platform_key_coverage_ratio", coverage) == 0.5
    read_at = second.registry.get_sample_value("convey_platform_quality_read_timestamp_seconds", {"destination": NAME})
    assert read_at == START.timestamp()


async def test_a_worker_that_has_not_read_the_book_asks_nothing_that_another_is_asking(asked: Asked) -> None:
    (one, _, _), (other, _, metrics) = asked.worker(), asked.worker()
    await one.turn()
    await other.turn()  # its copy of the book is older than the other's note
    assert (asked.calls, score(metrics)) == (1, 7.5)


async def test_it_is_asked_again_when_its_time_has_come_and_what_is_said_no_more_goes(asked: Asked) -> None:
    watch, _, metrics = asked.worker()
    await watch.turn()
    asked.answer = httpx.Response(200, json={"score": 4, "status": "fair"})
    asked.setup.clock.advance(DAY - timedelta(seconds=1))
    await watch.turn()
    assert (asked.calls, score(metrics)) == (1, 7.5)
    asked.setup.clock.advance(timedelta(seconds=1))
    await watch.turn()
    assert (asked.calls, score(metrics)) == (2, 4)
    assert (status(metrics, "good"), status(metrics, "fair")) == (None, 1)


@pytest.mark.parametrize("fault", [httpx.Response(503), httpx.Response(500), httpx.ConnectError("no")], ids=str)
async def test_without_an_answer_the_last_one_stands_for_a_while(
    asked: Asked, fault: httpx.Response | Exception
) -> None:
    watch, _, metrics = asked.worker()
    await watch.turn()
    asked.setup.clock.advance(DAY)
    asked.answer = fault
    await watch.turn()
    assert (asked.calls, score(metrics)) == (2, 7.5)
    await watch.turn()
    assert asked.calls == 2
    is_told_when = isinstance(fault, httpx.Response) and fault.status_code == 503
    asked.setup.clock.advance(2 * HOUR if is_told_when else FIRST_BACKOFF)
    await watch.turn()
    assert asked.calls == 3
    asked.setup.clock.advance(3 * DAY)
    await watch.turn()
    assert score(metrics) is None


async def test_whoever_dies_asking_is_replaced_after_the_lease(asked: Asked) -> None:
    one, _, _ = asked.worker()
    asked.answer = KeyError("stands for the end of the process")
    with pytest.raises(KeyError):
        await one.turn()
    other, _, metrics = asked.worker()
    asked.answer = httpx.Response(200, json={"score": 6})
    await other.turn()
    assert asked.calls == 1
    asked.setup.clock.advance(LEASE)
    await other.turn()
    assert (asked.calls, score(metrics)) == (2, 6)


async def test_nothing_is_asked_unless_configured(asked: Asked) -> None:
    asked.every = None
    watch, _, metrics = asked.worker()
    await watch.turn()
    assert (asked.calls, score(metrics)) == (0, None)
