"""The versions of the platforms' APIs: each is known, none ends soon, and who runs one that does is told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.config import DestinationConfig
from app.destinations.base import ApiVersion
from app.destinations.registry import destinations
from app.errors import Fault
from app.notices import SUNSET_NOTICE, notices
from tests.destinations import pages

NAMES = list(destinations())


def ending(today: date) -> list[str]:
    """The destinations whose default API version ends within the notice, with the page to read again."""
    found = []
    for name, kind in destinations().items():
        version = kind.settings.model_fields["api_version"].default
        known = kind.versions[version]
        if known.sunset is not None and known.sunset - today <= SUNSET_NOTICE:
            found.append(f"{name} {version} ends on {known.sunset}: read {known.source}")
    return found


def test_no_version_we_send_to_ends_within_thirty_days() -> None:
    """Fails when it is time to read the platform's pages again and to move on."""
    assert ending(datetime.now(UTC).date()) == []


def test_the_watch_fails_thirty_days_before() -> None:
    sunset = destinations()["meta"].versions["v26.0"].sunset
    assert sunset is not None
    assert ending(sunset - timedelta(days=31)) == []
    (told,) = ending(sunset - timedelta(days=30))
    assert told.startswith(f"meta v26.0 ends on {sunset}: read https://")
    assert ending(sunset + timedelta(days=400)) != []


@pytest.mark.parametrize("name", NAMES)
def test_every_version_has_its_page_and_the_day_it_was_read(name: str) -> None:
    kind = destinations()[name]
    page = (pages.PAGES / f"{name}.md").read_text("utf-8")
    assert kind.versions, "a destination says which API versions it was made with"
    for version, known in kind.versions.items():
        assert kind.settings.__pydantic_validator__
        assert known.source.startswith("https://")
        assert known.read_on <= datetime.now(UTC).date()
        assert known.released is None or known.released <= known.read_on
        assert known.sunset is None or known.released is None or known.released < known.sunset
        assert version in page
        assert known.sunset is None or str(known.sunset) in page, "the page shows the day it ends"


@pytest.mark.parametrize(
    ("today", "code", "word"),
    [
        (date(2027, 6, 28), None, ""),
        (date(2027, 6, 29), "version_ends", "ends on 2027-07-29, by a careful reading"),
        (date(2027, 7, 29), "version_ends", "ended on 2027-07-29"),
    ],
)
def test_who_runs_a_version_that_ends_is_told_at_start(today: date, code: str | None, word: str) -> None:
    told = notes("meta", today)
    assert [fault.code for fault in told if fault.code != "test_mode"] == ([code] if code else [])
    assert all(word in fault.detail for fault in told if fault.code == code)


def test_an_announced_end_is_told_without_a_hedge(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"v26.0": ApiVersion(date(2026, 11, 20), "https://example.com", sunset=date(2027, 1, 1))}
    kind = destinations()["meta"]
    monkeypatch.setitem(kind.versions, "v26.0", versions["v26.0"])
    assert "ends on 2027-01-01; read https://example.com" in notes("meta", date(2026, 12, 31))[-1].detail


def test_a_version_nobody_read_about_is_told() -> None:
    (fault,) = [fault for fault in notes("meta", date(2026, 11, 20), api_version="v99.0") if fault.code != "test_mode"]
    assert (fault.pointer, fault.code) == ("destinations[0].api_version", "version_unknown")
    assert "v26.0" in fault.detail


@pytest.mark.parametrize("name", NAMES)
def test_a_test_mode_is_told_at_start(name: str) -> None:
    codes = [fault.code for fault in notes(name, date(2026, 11, 20))]
    assert ("test_mode" in codes) == destinations()[name].has_test_mode(pages.settings_of(name))


def notes(name: str, today: date, **over: Any) -> list[Fault]:
    settings = pages.settings_of(name).model_copy(update=over)
    return notices([DestinationConfig(name, name, settings, path="destinations[0]")], today)
