from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

import app.config.schema
import app.config.settings
from tests.config.support import ACME, Loader


@pytest.fixture(autouse=True)
def _acme_only(monkeypatch: pytest.MonkeyPatch) -> None:
    known = MappingProxyType({"acme": ACME})
    monkeypatch.setattr(app.config.settings, "known_destinations", lambda: known)
    monkeypatch.setattr(app.config.schema, "known_destinations", lambda: known)


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    return Loader(tmp_path)
