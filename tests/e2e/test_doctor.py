"""The doctor at a gateway and platforms that run for real: healthy, and with one fault after another planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from app.cli import app as cli
from tests.e2e.harness import KEY, PLATFORMS, Gateway, Sandbox, free_port, gateway_running, orders, source

ADMIN = "ck_doctor-admin"


def doctor(gateway: Gateway, *options: str, key: str = KEY) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code and the findings by check."""
    arguments = ["doctor", "--config", str(gateway.config), "--url", gateway.url, "--json", *options]
    done = CliRunner().invoke(cli, arguments, env={"CONVEY_KEY": key})
    assert done.exit_code in {0, 1}, done.output
    assert key not in done.output
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return done.exit_code, found


def levels(found: dict[str, list[dict[str, Any]]], check: str) -> list[str]:
    return [finding["level"] for finding in found[check]]


def test_a_healthy_gateway_is_told_so_and_every_planted_fault_is_found(tmp_path: Path, sandbox: Sandbox) -> None:
    tokens = {name: tmp_path / f"{name}.token" for name in PLATFORMS}
    for path in tokens.values():
        path.write_text("t0ken-of-a-test")
    admin = {"hash": source("x", ADMIN)["keys"][0], "scopes": ["ingest", "read", "admin"]}
    server = {"metrics_port": free_port()}
    options: dict[str, Any] = {
        "secrets": {name: {"file": str(path)} for name, path in tokens.items()},
        "sources": [source(keys=[*source()["keys"], admin])],
        "server": server,
    }
    with gateway_running(tmp_path / "gateway", sandbox, **options) as gateway:
        gateway.accept(*orders("DOC", 30))
        gateway.wait_settled()
        code, found = doctor(gateway)
        assert code == 0, found
        sound = ("config", "store", "gateway", "clock", "versions", "lanes", "ledger", "freshness", "event_names")
        for check in (*sound, "consent", "match_keys", "rejects", "leaks"):
            assert levels(found, check) == ["ok"], found[check]
        assert levels(found, "tokens") == ["ok"] * 4
        assert levels(found, "pairs") == ["unknown"]  # nobody reports what the pixel fires

        code, found = doctor(gateway, "--offline")
        assert (code, levels(found, "tokens"), levels(found, "clock")) == (0, ["unknown"], ["unknown"])
        assert doctor(gateway, "--offline", "--strict")[0] == 1

        # no consent signals, a custom name, personal data in the wrong place, a lane held back, a dead token
        mute = [{**order.event, "consent": None} for order in orders("MUTE", 40)]
        named = [{**order.event, "event_name": "Purchasse"} for order in orders("NAME", 2)]
        named[0]["custom_data"]["properties"] = {"note": "write to jane.doe@example.com"}
        gateway.post_events([*mute, *named])
        gateway.wait_settled()
        pause = gateway._http.post(
            "/v1/destinations/pinterest/pause",
            json={"reason": "incident 7"},
            headers={"authorization": f"Bearer {ADMIN}"},
        )
        assert pause.status_code == 200, pause.text
        tokens["snapchat"].write_text("DEAD-token-of-a-test")
        code, found = doctor(gateway)
        assert code == 1
        assert "problem" in levels(found, "consent") or "warning" in levels(found, "consent"), found["consent"]
        assert "warning" in levels(found, "event_names")
        assert any("Purchase" in (each["next_step"] or "") for each in found["event_names"])
        assert "warning" in levels(found, "leaks"), found["leaks"]
        assert any("pinterest is paused" in each["words"] and "incident 7" in each["words"] for each in found["lanes"])
        assert levels(found, "tokens") == ["ok", "ok", "ok", "problem"]
        assert "jane.doe" not in json.dumps(found) and "DEAD-token" not in json.dumps(found)
        assert levels(found, "ledger") == ["ok"]

        code, found = doctor(gateway, key="ck_of-nobody")
        assert (code, levels(found, "gateway")) == (1, ["problem"])
        assert all(levels(found, check) == ["unknown"] for check in ("lanes", "ledger", "freshness", "leaks"))
        assert all("give a key of this gateway" in found[check][0]["next_step"] for check in ("gateway", "lanes"))


def test_a_gateway_that_nothing_reaches_and_that_is_down(tmp_path: Path, sandbox: Sandbox) -> None:
    with gateway_running(tmp_path / "gateway", sandbox) as gateway:
        code, found = doctor(gateway, "--offline")
        assert (code, levels(found, "freshness")) == (0, ["unknown"]), found
        assert "convey send" in found["freshness"][0]["next_step"]
        assert levels(found, "event_names") == levels(found, "consent") == ["unknown"]
        assert gateway.stop() == 0
        code, found = doctor(gateway, "--offline")
        assert (code, levels(found, "gateway")) == (1, ["problem"])
        assert levels(found, "lanes") == ["unknown"]
        broken = json.loads(gateway.config.read_text())
        broken["destinations"][0]["pixel_ids"] = "1"
        gateway.config.write_text(json.dumps(broken))
        code, found = doctor(gateway, "--offline")
        assert (code, levels(found, "config")) == (1, ["problem"])
        assert "pixel_ids" in found["config"][0]["words"]
