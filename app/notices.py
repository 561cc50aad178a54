"""What is allowed about the destinations, yet worth a word at every start: test modes, and API versions that end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from app.config import DestinationConfig
from app.destinations.base import ApiVersion
from app.destinations.registry import destinations as known_destinations
from app.errors import Fault

SUNSET_NOTICE = timedelta(days=30)
"""How long before an API version ends people are told."""


def has_test_mode(destination: DestinationConfig) -> bool:
    """Whether test events reach this destination."""
    return known_destinations()[destination.type].has_test_mode(destination.settings)


def api_version(destination: DestinationConfig) -> tuple[str, ApiVersion | None]:
    """The API version of this destination (empty when it has no such setting), and what is known of it."""
    known = known_destinations()[destination.type].version_of(destination.settings)
    return getattr(destination.settings, "api_version", ""), known


def notices(destinations: Iterable[DestinationConfig], today: date) -> list[Fault]:
    """A warning for each thing about these destinations that a person should know, where it is configured."""
    return [notice for destination in destinations for notice in _notices(destination, today)]


def _notices(destination: DestinationConfig, today: date) -> Iterable[Fault]:
    if has_test_mode(destination):
        words = "takes test events: those posted with `test: true` reach the platform's test mode, live ones stay live"
        yield Fault(destination.path, "test_mode", words)
    version, known = api_version(destination)
    if known is None:
        if version:
            listed = ", ".join(known_destinations()[destination.type].versions) or "none"
            words = f"is no version this release was made with; it knows {listed}"
            yield Fault(f"{destination.path}.api_version", "version_unknown", words)
    elif known.sunset is not None and known.sunset - today <= SUNSET_NOTICE:
        ends = "ended" if known.sunset <= today else "ends"
        sure = "" if known.is_announced else ", by a careful reading of the platform's pages"
        words = f"{ends} on {known.sunset}{sure}; read {known.source} and set a newer version"
        yield Fault(f"{destination.path}.api_version", "version_ends", words)
