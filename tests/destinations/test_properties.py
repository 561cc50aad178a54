"""Custom properties in a platform's own fields, and how their types are made exact."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from app.destinations.base import (
    as_amount,
    as_amount_text,
    as_day,
    as_flag,
    as_text,
    as_texts,
    as_whole,
    at_most,
    one_of,
)
from app.destinations.registry import destinations
from tests.destinations import support as s

MAPPED: list[tuple[str, str, Any, Any]] = [
    ("meta", "custom_data.net_revenue", "12.50", 12.5),
    ("meta", "custom_data.status", True, None),
    ("meta", "customer_segmentation", "Customer_In_Loyalty_Program", "customer_in_loyalty_program"),
    ("meta", "original_event_data.event_time", "1795132800", 1795132800),
    ("meta", "opt_out", "true", True),
    ("tiktok", "properties.shop_id", 7, "7"),
    ("tiktok", "ad.attribution_share", 0.5, 0.5),
    ("tiktok", "ad.is_retargeting", 0, False),
    ("pinterest", "custom_data.content_brand", "Acme", "Acme"),
    ("pinterest", "device_info.form_factor", "Tablet", "tablet"),
    ("pinterest", "app_info.window_width", "390", 390),
    ("pinterest", "custom_data.external_measurement_vendor_id", "x", None),
    ("snapchat", "custom_data.sign_up_method", "google", "google"),
    ("snapchat", "custom_data.checkin_date", "2026-12-24", "2026-12-24"),
    ("snapchat", "custom_data.suggested_hotels", ["a", "b"], ["a", "b"]),
    ("snapchat", "user_data.partner_id", "p-1", "p-1"),
]


def at(item: Any, path: str) -> Any:
    for part in path.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


@pytest.mark.parametrize(("name", "path", "value", "expected"), MAPPED)
def test_a_property_goes_where_the_configuration_sends_it(name: str, path: str, value: Any, expected: Any) -> None:
    of = s.event(custom_data=s.custom_data(properties={"mine": value}))
    item = s.sent(name, of, field_properties={path: "mine"})
    assert at(item, path) == expected
    assert "mine" not in json.dumps(item)
    codes = s.codes(s.admitted(name, of, field_properties={path: "mine"}))
    assert ("property_misfit" in codes) == (expected is None)
    assert "properties_dropped" not in codes
    assert at(
        s.sent(name, s.event(custom_data=s.custom_data(properties={})), field_properties={path: "mine"}), path
    ) in (
        None,
        {},
    )


@pytest.mark.parametrize("name", ["meta", "tiktok", "pinterest", "snapchat"])
def test_only_documented_fields_can_be_filled(name: str) -> None:
    with pytest.raises(ValidationError, match=r"has no field user_data\.em of the platform's: "):
        s.settings(name, field_properties={"user_data.em": "mine"})


@pytest.mark.parametrize("name", ["meta", "tiktok", "pinterest", "snapchat"])
def test_every_assignable_field_stands_on_the_page(name: str) -> None:
    page = (s.PAGES / f"{name}.md").read_text("utf-8")
    missing = [path for path in destinations()[name].settings.assignable if path.rpartition(".")[2] not in page]
    assert not missing


def test_a_misspelt_field_is_told_with_what_was_meant() -> None:
    with pytest.raises(ValidationError, match=r"did you mean custom_data\.net_revenue\?") as caught:
        s.settings("meta", field_properties={"custom_data.netrevenue": "margin"})
    assert caught.value.errors()[0]["loc"] == ("field_properties",)


def test_what_the_event_says_itself_wins() -> None:
    of = s.event(custom_data=s.custom_data(properties={"mine": "x"}))
    of_status = s.sent("meta", of, field_properties={"custom_data.status": "mine"})
    assert of_status["custom_data"]["status"] == "x"
    limited = s.sent("meta", of, limited=True, field_properties={"opt_out": "mine"})
    assert limited["opt_out"] is True


def test_metas_own_keys_get_their_types() -> None:
    of = s.event(custom_data=s.custom_data(properties={"net_revenue": "7.10", "num_adults": "two", "coupon": "X"}))
    custom = s.sent("meta", of)["custom_data"]
    assert custom["net_revenue"] == 7.1
    assert "num_adults" not in custom
    assert custom["coupon"] == "X"
    assert "property_misfit" in s.codes(s.admitted("meta", of))


@pytest.mark.parametrize(
    ("convert", "given", "expected"),
    [
        (as_text, "a", "a"),
        (as_text, "", None),
        (as_text, 7, "7"),
        (as_text, True, None),
        (as_text, ["a"], None),
        (at_most(2), "ab", "ab"),
        (at_most(2), "abc", None),
        (as_amount_text, "1E+3", "1000"),
        (as_amount_text, 0.1, "0.1"),
        (as_amount_text, "-2.5", "-2.5"),
        (as_amount_text, "NaN", None),
        (as_amount_text, float("inf"), None),
        (as_amount_text, "1,5", None),
        (as_amount_text, "1E+30", None),
        (as_amount_text, False, None),
        (as_whole, "12", 12),
        (as_whole, 12, 12),
        (as_whole, True, None),
        (as_whole, 1.5, None),
        (as_whole, "1.5", None),
        (as_flag, True, True),
        (as_flag, 0, False),
        (as_flag, "true", True),
        (as_flag, 2, None),
        (as_flag, [], None),
        (as_texts, "a", ["a"]),
        (as_texts, ["a", 1], ["a", "1"]),
        (as_texts, ["a", None], None),
        (as_texts, [], None),
        (as_day, "2026-12-24", "2026-12-24"),
        (as_day, "24.12.2026", None),
        (as_day, 20261224, None),
        (one_of("Aa"), " aA ", "Aa"),
        (one_of("Aa"), "b", None),
        (one_of("Aa"), 1, None),
    ],
)
def test_types_are_made_exact(convert: Any, given: Any, expected: Any) -> None:
    assert convert(given) == expected


def test_an_amount_keeps_its_digits() -> None:
    assert orjson.dumps(as_amount("12.50")) == b"12.50"
    assert as_amount("twelve") is None
