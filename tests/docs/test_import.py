"""The import page's example, run as it stands."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import CliRunner

from app.cli import app
from app.sandbox.server import SandboxServer
from tests.e2e.harness import KEY, Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "import.md").read_text("utf-8")


def test_the_worked_example(tmp_path: Path, monkeypatch) -> None:
    sales, errors = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    command = next(block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "--map" in block)
    arguments = shlex.split(command.replace("\\\n", " "))
    monkeypatch.chdir(tmp_path)
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    Path("sales.csv").write_text(sales.replace("2026-11-19", yesterday), "utf-8")
    with SandboxServer() as sandbox:
        gateway = Gateway(tmp_path / "gateway", sandbox.url)
        try:
            gateway.start()
            options = ["--url", gateway.url]
            dry = CliRunner().invoke(app, [*arguments[1:], *options, "--dry-run"], env={"CONVEY_KEY": KEY})
            assert "4 row(s) would be: 2 accepted, 2 invalid" in dry.stdout, dry.output
            assert not Path("sales.csv.errors.csv").exists()
            assert {account["queued"] for account in gateway.ledger().values()} == {0}
            done = CliRunner().invoke(app, [*arguments[1:], *options], env={"CONVEY_KEY": KEY})
            assert done.exit_code == 1, done.output
            assert "4 row(s): 2 accepted, 2 invalid" in done.stdout
            assert Path("sales.csv.errors.csv").read_text("utf-8") == errors
            assert gateway.ledger()["meta"]["money"]["EUR"]["queued"] == "1178.90"
        finally:
            gateway.close()
