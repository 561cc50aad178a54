"""What answers say of a token, and of the time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from app.cli.doctor.gateway import ahead_s
from app.cli.doctor.probes import _of_meta, _of_test, probe_all
from app.config import load
from app.doctor.setup import Answer
from app.errors import Reason
from app.model import Delivered, HttpReply, Park, Rejected, Retry, Split
from tests.e2e.harness import sandbox_running, write_config
from tests.e2e.test_google import Site

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("minutes", [-7, 0, 5])
def test_the_clock_behind_an_answer(minutes: int) -> None:
    date = format_datetime(NOW + timedelta(minutes=minutes), usegmt=True)
    ahead = ahead_s(date, NOW - timedelta(seconds=1), NOW + timedelta(seconds=1))
    assert ahead == minutes * 60 + 0.5


def test_a_date_that_is_none_says_nothing() -> None:
    assert ahead_s("", NOW, NOW) is ahead_s("yesterday", NOW, NOW) is None


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ([Delivered("t")], Answer.ACCEPTED),
        (Park(Reason.CREDENTIALS, "HTTP 401"), Answer.REFUSED),
        ([Rejected(Reason.REJECTED_BY_PLATFORM, "x")], Answer.UNSURE),
        ([Retry(Reason.PLATFORM_ERROR)], Answer.UNSURE),
        (Split(), Answer.UNSURE),
    ],
)
def test_what_a_test_event_says_of_the_token(result: object, answer: Answer) -> None:
    assert _of_test("snapchat", result).answer is answer


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, {"id": "123"}, Answer.ACCEPTED),
        (400, {"error": {"code": 100, "message": "(#100) Missing permission"}}, Answer.ACCEPTED),
        (400, {"error": {"code": 100, "error_subcode": 33}}, Answer.UNSURE),
        (401, {"error": {"code": 190, "error_subcode": 463}}, Answer.REFUSED),
        (400, {"error": {"code": 104}}, Answer.REFUSED),
        (500, {"error": {"code": 2}}, Answer.UNSURE),
        (200, [], Answer.UNSURE),
    ],
)
def test_what_reading_a_dataset_says_of_the_token(status: int, body: object, answer: Answer) -> None:
    assert _of_meta("meta", HttpReply(status, {}, json.dumps(body).encode())).answer is answer
    assert _of_meta("meta", HttpReply(502, {}, b"<html>")).answer is Answer.UNSURE


@pytest.mark.anyio
@pytest.mark.parametrize("token", ["t0ken-of-a-test", "DEAD-token-of-a-test"])
async def test_the_platforms_are_asked_and_count_nothing(tmp_path: Path, token: str) -> None:
    with sandbox_running() as sandbox:
        secrets = dict.fromkeys(("meta", "tiktok", "pinterest", "snapchat"), token)
        settings = load(write_config(tmp_path, sandbox.url, secrets=secrets), {})
        probed = await probe_all(settings)
        answers = {probe.destination: probe.answer for probe in probed.probes}
        known = Answer.REFUSED if token.startswith("DEAD") else Answer.ACCEPTED
        assert answers == {"meta": known, "tiktok": Answer.NOT_ASKED, "pinterest": known, "snapchat": known}
        assert all(abs(reading.ahead_s) < 30 for reading in probed.clocks)
        assert {reading.who for reading in probed.clocks} == {"meta", "pinterest", "snapchat"}
        assert not any(token in probe.detail for probe in probed.probes)
        for platform in ("meta", "tiktok", "pinterest", "snapchat"):
            assert sandbox.counted(platform) == {}


@pytest.mark.anyio
@pytest.mark.parametrize("is_known", [True, False])
async def test_google_is_asked_to_validate_only(tmp_path: Path, is_known: bool) -> None:
    with sandbox_running() as sandbox:
        site = Site(tmp_path, sandbox, None)
        if not is_known:
            site.control(revoked=["one@shop.example"])
        probed = await probe_all(load(site.gateway.config, {}))
        (probe,) = probed.probes
        assert probe.answer is (Answer.ACCEPTED if is_known else Answer.REFUSED), probe
        assert site.counted()["events"] == 0
        site.gateway.close()
