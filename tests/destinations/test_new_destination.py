"""The stubs of a new destination are a working destination: they pass what every destination must pass."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from app.destinations.registry import destinations
from scripts.new_destination import write
from tests.destinations import pages, support
from tests.destinations import test_conformance as conformance

NAME = "acme_ads"
MODULE = f"app.destinations.{NAME}"


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    module_path, page, _ = write(NAME, tmp_path)
    spec = importlib.util.spec_from_file_location(MODULE, module_path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    registry = MappingProxyType({**destinations(), NAME: module.DESTINATION})
    for user in (pages, support, conformance):
        monkeypatch.setattr(user, "destinations", lambda: registry)
    monkeypatch.setattr(pages, "PAGES", page.parent)
    yield NAME
    del sys.modules[MODULE]


def test_the_stubs_pass(acme: str) -> None:
    pages.check_page(acme)
    conformance.test_every_setting_is_described(acme)
    conformance.test_every_event_is_taken_or_skipped_for_a_listed_reason(acme)
    conformance.test_old_and_future_events_are_skipped(acme)
    conformance.test_no_raw_identifier_leaves(acme)
    conformance.test_only_wanted_forms_leave(acme)
    conformance.test_secrets_stay_where_they_are_hidden(acme)
    conformance.test_requests_keep_to_count_and_bytes(acme)
    conformance.test_amounts_never_pass_through_a_float(acme)
    conformance.test_fields_an_answer_may_gain_change_nothing(acme)


@pytest.mark.parametrize("status", conformance.STATUSES)
@pytest.mark.parametrize("body", conformance.BODIES)
def test_the_stub_reads_every_answer(acme: str, status: int, body: str) -> None:
    conformance.test_an_unreadable_answer_delivers_nothing(acme, status, body, 3)
    conformance.test_a_readable_answer_that_says_nothing_delivers_nothing(acme, status, 1)


@pytest.mark.parametrize("name", ["Acme", "a", "9x", "a-b", "../x", ""])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        write(name, tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(NAME, tmp_path)
    with pytest.raises(ValueError, match="exists"):
        write(NAME, tmp_path)
