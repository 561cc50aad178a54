"""The tools the destinations share."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from app.destinations import base
from app.destinations.base import DestinationSettings, Limits, Skip
from app.errors import DestinationError
from app.model import Form, HashedIdentity, Rejected, Split
from tests.destinations import support as s


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("20h", timedelta(hours=20)),
        ("1d", timedelta(days=1)),
        ("500ms", timedelta(milliseconds=500)),
        (timedelta(hours=3), timedelta(hours=3)),
    ],
)
def test_durations_are_spelled_with_their_unit(text: Any, length: timedelta) -> None:
    assert DestinationSettings(base_url="https://api.example", window_margin=text).window_margin == length


@pytest.mark.parametrize("text", ["h", "-1h", "1.5h", "2d", ""])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(ValidationError):
        DestinationSettings.model_validate({"base_url": "https://api.example", "window_margin": text})


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://api.example", True),
        ("https://api.example/", True),
        ("http://127.0.0.1:8090", True),
        ("http://localhost:1", True),
        ("http://[::1]:80", True),
        ("http://api.example", False),
        ("https://api.example/v1", False),
        ("https://user@api.example", False),
        ("ftp://api.example", False),
    ],
)
def test_base_url_is_an_origin(url: str, is_good: bool) -> None:
    if is_good:
        assert DestinationSettings(base_url=url).base_url == url.rstrip("/")
    else:
        with pytest.raises(ValidationError):
            DestinationSettings(base_url=url)


def test_tokens_lose_the_line_end_of_their_file():
    assert s.settings("meta", access_token="abc\n").access_token.get_secret_value() == "abc"


@pytest.mark.parametrize("token", ["", "\n", "a b", "a\tb", "tökén", "a\r\nX-Evil: 1"])
def test_tokens_that_fit_no_header(token: str) -> None:
    with pytest.raises(ValidationError) as caught:
        s.settings("meta", access_token=token)
    assert "Evil" not in str(caught.value)


def test_no_digest_but_a_sha256_ever_leaves():
    for digest in (b"short", s.digest("")):
        with pytest.raises(DestinationError):
            base.hashed(HashedIdentity(digests={Form.EMAIL: (digest,)}), Form.EMAIL)
        with pytest.raises(DestinationError):
            s.build("meta", [s.delivery(s.event(identity=HashedIdentity(digests={Form.EMAIL: (digest,)})))])


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1E+3", "1000"), ("0.10", "0.10"), ("5", "5"), ("0E-6", "0.000000"), ("12345678901234.5", None)],
)
def test_amounts_keep_their_digits(amount: str, text: str | None) -> None:
    assert base.plain(Decimal(amount)) == (text or amount)
    assert orjson.dumps(base.number(Decimal(amount))) == (text or amount).encode()


def test_tidy_keeps_nought_and_no():
    record: dict[str, object] = {"a": 0, "b": False, "c": None, "d": "", "e": [], "f": {}, "g": 0.0, "h": "x"}
    assert base.tidy(record) == {"a": 0, "b": False, "g": 0.0, "h": "x"}


def test_scalars():
    properties = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": "", "f": None, "g": [1], "h": {"i": 1}, "": "j"}
    assert base.scalars(properties) == {"a": "x", "b": 1, "c": 1.5, "d": True}
    assert base.scalars({"a": 2**64, "b": float("inf"), "c": -(2**63), "d": 2**63}) == {"c": -(2**63)}
    assert base.scalars({"value": 1, "x": 1}, frozenset({"value"})) == {"x": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("EA7583CD-A667-48BC-B806-42ECB2B48606", "ea7583cd-a667-48bc-b806-42ecb2b48606"),
        ("ea7583cda66748bcb80642ecb2b48606", "ea7583cd-a667-48bc-b806-42ecb2b48606"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("aaaaaa-2222-1111-8787-809e92233ba0", None),
        ("", None),
        (None, None),
    ],
)
def test_uuid_text(value: str | None, expected: str | None) -> None:
    assert base.uuid_text(value) == expected


@pytest.mark.parametrize(
    ("slots", "is_good"),
    [
        (s.APP["extinfo"], True),
        (["a2", *[None] * 15], True),
        (["i2"] * 15, False),
        (["x2", *[""] * 15], False),
        ("i2", False),
        (None, False),
    ],
)
def test_extinfo_has_sixteen_slots(slots: Any, is_good: bool) -> None:
    found = base.app_extinfo(s.event(app={"extinfo": slots}))
    assert (found is not None) == is_good
    assert found is None or all(isinstance(slot, str) for slot in found)


@pytest.mark.parametrize(("value", "flag"), [(True, 1), (0, 0), (1, 1), (2, None), ("1", None), (None, None)])
def test_flags(value: Any, flag: int | None) -> None:
    assert base.app_flag(s.event(app={"advertiser_tracking_enabled": value}), "advertiser_tracking_enabled") == flag


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("$['data'][3]['user_data']", (3,)),
        ("data[0][event_time], data[2]", (0, 2)),
        ("Batch.1.properties.contents.0.content_id", (1,)),
        ("data/2/custom_data", (2,)),
        ("events[1]", (1,)),
        ("data[4]", ()),
        ("updated 3 events", ()),
        ("data[3", (3,)),
        (None, ()),
    ],
)
def test_positions_an_error_names(text: Any, positions: tuple[int, ...]) -> None:
    assert base.named_positions(4, text) == positions


def test_age_gate():
    week, margin = timedelta(days=7), timedelta(minutes=10)
    until = base.gate_age(s.event(), week, margin, s.NOW)
    assert until == s.HAPPENED + week - margin
    edge = s.event(event_time=s.NOW - week + margin)
    assert isinstance(base.gate_age(edge, week, margin, s.NOW), Skip)


def test_pack():
    items = [(delivery, b"x" * size) for delivery, size in zip(s.batch(5), (3, 3, 50, 3, 3), strict=True)]
    packed = base.pack(items, Limits(max_items=2, max_bytes=20), b"[", b"]")
    assert [len(batch) for batch, _ in packed] == [2, 1, 2]
    assert packed[0][1] == b"[xxx,xxx]"
    assert base.pack([], Limits(1, 1), b"[", b"]") == []


def test_refusals_of_a_batch_and_of_a_lone_event():
    assert base.isolate(3, "why", (1,), "t") == Split("why", (1,), "t")
    assert base.isolate(1, "why", (0,), "t") == [Rejected(detail="why", trace_id="t")]
    assert base.unknown(2, "why") == Split("why")


def test_codes():
    assert [base.as_code(value) for value in (7, "7", True, 7.0, "x", None, "7.0")] == [
        7,
        7,
        None,
        None,
        None,
        None,
        None,
    ]


def test_scrub():
    assert base.scrub("mail jane@example.com, phone +1 (415) 555-2671, " + "a1" * 32) == "mail … phone …, …"
    assert base.scrub("code 2804003") == "code 2804003"
    assert base.scrub(None) is None
    assert len(base.scrub("word " * 400) or "") == 300
