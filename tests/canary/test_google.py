"""Canaries at Google: what is kept for later, the credential, and what the platform quotes of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import httpx

from app.sandbox.server import SandboxServer
from tests.canary.flock import STEMS, Flock
from tests.canary.search import Search
from tests.e2e.harness import KEY, Gateway, Order, free_port, wait_until


def test_neither_the_credential_nor_the_shopper_is_written_down(tmp_path: Path) -> None:
    flock = Flock()
    secret, refresh = flock.word("client secret", start="cs-"), flock.word("refresh token", start="1-")
    credential = {"type": "authorized_user", "client_id": "shop", "client_secret": secret, "refresh_token": refresh}
    outputs: dict[str, bytes] = {}
    with SandboxServer() as platform:
        control = f"{platform.url}/_google"
        file = tmp_path / "credential.json"
        file.write_text(json.dumps({**credential, "token_uri": f"{platform.url}/token"}))
        metrics = free_port()
        gateway = Gateway(tmp_path / "gateway", platform.url, server={"metrics_port": metrics})
        config = json.loads(gateway.config.read_text())
        config["logging"] = {"level": "debug"}
        config["destinations"] = [
            {
                "name": "google",
                "type": "google",
                "base_url": platform.url,
                "operating_account": "1234567890",
                "conversion_actions": {"Purchase": "987"},
                "credentials": {"file": str(file)},
                "linger": "20ms",
                "status_after": "0s",
            }
        ]
        gateway.config.write_text(json.dumps(config))
        try:
            httpx.put(control, json={"token_replies": [500], "status_replies": [503]}).raise_for_status()
            gateway.start()
            purchase = {"event_name": "Purchase", "transaction_id": "LATE-GOOGLE-1"}
            events = [{**event, "event_name": "Purchase"} for _, event in flock.users()][:150]
            events += [{**flock.event(user=flock.user("refused later")), **purchase}]
            refund = {"event_name": "Refund", "transaction_id": "LATE-GOOGLE-1", "occurrence": "R-1"}
            events += [{**flock.event(user=flock.user("given back")), **refund}]
            head = {"authorization": f"Bearer {KEY}"}
            reply = httpx.post(f"{gateway.url}/v1/events", json={"events": events}, headers=head, timeout=30)
            outputs["posted"] = reply.content
            late = Order("LATE-GOOGLE-1", Decimal(1))
            wait_until(
                "the refusal", lambda: (gateway.fate(late) or {}).get("google", {}).get("rejected_after_acceptance"), 40
            )
            httpx.put(control, json={"revoked": [refresh]}).raise_for_status()
            more = [{**event, "transaction_id": f"N-{n}"} for n, event in enumerate(events[:20])]
            httpx.post(f"{gateway.url}/v1/events", json={"events": more}, headers=head, timeout=30)
            wait_until("the lane to park", lambda: gateway.logged("lane.state", destination="google", state="parked"))
            outputs["status"] = gateway.get("/v1/events/purchase_LATE-GOOGLE-1").content
            outputs["explained"] = httpx.post(
                f"{gateway.url}/v1/events/explain", json=events[0], headers=head, timeout=30
            ).content
            outputs["metrics"] = httpx.get(f"http://127.0.0.1:{metrics}/metrics").content
            gateway.kill()
        finally:
            gateway.close()
        for path in gateway.folder.iterdir():
            if path != gateway.config:
                outputs[path.name] = path.read_bytes()
        outputs["received"] = httpx.get(f"{platform.url}/_received", params={"bodies": "true"}).content
    assert b"convey_token_expiry_timestamp_seconds" in outputs["metrics"]
    search = Search(flock.canaries, STEMS)
    meant = {name: text for name, text in outputs.items() if name.startswith(("convey.db", "received", "explained"))}
    found = search.hits(meant, travels=True) + search.hits({n: o for n, o in outputs.items() if n not in meant})
    assert not found, found[:5]
