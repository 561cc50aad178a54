"""A real scrape of a gateway that has worked: promtool finds nothing to say against it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.main import create_metrics_app
from app.metrics import SPECS
from app.sandbox.server import SandboxServer
from tests.api.support import good, open_service
from tests.delivery.support import until
from tests.factories import FrozenClock
from tests.ops import tools

pytestmark = pytest.mark.anyio


async def test_promtool_accepts_the_scrape(tmp_path: Path) -> None:
    server = SandboxServer()
    try:
        async with open_service(tmp_path, server.start(), FrozenClock()) as service:
            await service.post({"events": [good(1), good(2), {}]})

            async def settled() -> bool:
                accounts = (await service.client.get("/v1/ledger")).json()["destinations"]
                return all(not account["pending"] for account in accounts.values())

            await until(settled)
            await service.runtime.drain()
            transport = httpx.ASGITransport(create_metrics_app(service.runtime.metrics))
            async with httpx.AsyncClient(transport=transport, base_url="http://metrics.test") as client:
                scrape = (await client.get("/metrics")).text
    finally:
        server.stop()
    checked = tools.run("promtool", "check", "metrics", stdin=scrape)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert {spec.name for spec in SPECS} <= {line.split()[2] for line in scrape.splitlines() if line[:7] == "# HELP "}
