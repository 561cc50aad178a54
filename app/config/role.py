"""What one process does: take events, work the lanes, or both."""

from __future__ import annotations

from enum import StrEnum

from app.config.settings import Settings
from app.errors import ConfigError, Fault


class Role(StrEnum):
    """The roles of `convey serve --role`. Any number of processes of each share one Redis store."""

    ALL = "all"
    API = "api"
    WORKER = "worker"

    @property
    def takes_events(self) -> bool:
        """Whether the whole HTTP API is served; else just the probes are."""
        return self is not Role.WORKER

    @property
    def works_lanes(self) -> bool:
        """Whether deliveries are claimed and sent."""
        return self is not Role.API


def check_role(settings: Settings, role: Role) -> None:
    """Return if a process of this role can work with these settings.

    Raises: ConfigError.
    """
    if role is not Role.ALL and not settings.store.is_shared:
        words = f"names an SQLite file, which one process has for itself: role {role} needs a Redis store"
        raise ConfigError([Fault("store.url", "role_needs_shared_store", words)])
