"""Secret files that are replaced while the gateway waits for its store."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from app.config import Settings, load
from app.runtime import Runtime
from tests.api.support import settings_for, unused_url
from tests.delivery.support import until
from tests.factories import FrozenClock

pytestmark = pytest.mark.anyio


def with_secret_file(folder: Path, token: str) -> tuple[Settings, Path]:
    """A configuration, read already, whose Meta token is in a file; and the file."""
    settings_for(folder, unused_url())
    configuration, secret = folder / "convey.yaml", folder / "meta.token"
    tree = json.loads(configuration.read_text())
    tree["destinations"][0]["access_token"] = {"file": str(secret)}
    configuration.write_text(json.dumps(tree))
    secret.write_text(token)
    return load(configuration, {}), secret


def token_of(runtime: Runtime) -> str:
    token = runtime._worker.lanes["meta"]._config.settings.access_token.get_secret_value()
    assert isinstance(token, str)
    return token


async def test_a_secret_replaced_before_the_store_was_there_is_noticed(tmp_path: Path) -> None:
    settings, secret = with_secret_file(tmp_path, "tok-first")
    secret.write_text("tok-second")
    async with Runtime.open(settings, now=FrozenClock().now) as runtime:
        await until(lambda: token_of(runtime) == "tok-second")


async def test_a_secret_that_is_as_it_was_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="convey")
    settings, _ = with_secret_file(tmp_path, "tok-first")
    async with Runtime.open(settings, now=FrozenClock().now) as runtime:
        await until(lambda: "readiness" in caplog.text)
        assert token_of(runtime) == "tok-first"
    assert "secret." not in caplog.text
