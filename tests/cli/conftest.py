from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.cli.support import Gateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr("app.cli.client.time.sleep", lambda seconds: None)
    served = Gateway()
    yield served
    served.close()


Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    for name in ("CONVEY_URL", "CONVEY_KEY", "CONVEY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: str | None = None, **environ: str) -> Any:
        return CliRunner().invoke(app, list(arguments), input=stdin, env=environ)

    return invoke
