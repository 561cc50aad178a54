"""Settings: one YAML file, the environment on top, secrets by reference; judged whole, before anything starts.

    settings = load(Path("convey.yaml"), os.environ)

`tree` reads file, environment and secret files into one tree of text; `sections`, `store` and `source` say field by
field what may stand in it; `settings` puts the two together, cross-checks, and hands out frozen values; `role` says
what one process does of it; `schema` describes it all.

Why pydantic for the fields but not pydantic-settings for the sources: its environment source cannot reach into a
list (`CONVEY_DESTINATIONS__0__ACCESS_TOKEN`), cannot say which `CONVEY_*` names nobody knows, reads the process's
environment instead of the mapping it is given, and stops at the first source that fails, where every mistake is to
be reported at once.
"""

from __future__ import annotations

from app.config.role import Role, check_role
from app.config.schema import json_schema
from app.config.sections import LoggingConfig, ServerConfig
from app.config.settings import DestinationConfig, Settings, Tuning, load, reload_destination
from app.config.source import KeyConfig, SourceConfig
from app.config.store import StoreConfig

__all__ = [
    "DestinationConfig",
    "KeyConfig",
    "LoggingConfig",
    "Role",
    "ServerConfig",
    "Settings",
    "SourceConfig",
    "StoreConfig",
    "Tuning",
    "check_role",
    "json_schema",
    "load",
    "reload_destination",
]
