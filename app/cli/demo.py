"""`convey demo`: gateway, pretend platforms and sample orders, to see it all work without an account anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import typer
from rich.table import Table
from rich.text import Text

from app.cli.output import FAILED, UNUSABLE, console, fail
from app.config import Settings, load
from app.errors import ConveyError
from app.logs import configure
from app.main import run as serve
from app.sandbox import create_sandbox
from app.sandbox.server import SandboxServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DESTINATIONS = ("meta", "tiktok", "pinterest", "snapchat", "google")
ACCOUNTS = {
    "meta": "1234567890",
    "tiktok": "C4DEMOPIXEL00000001",
    "pinterest": "549755885175",
    "snapchat": "4f0b1c7e-8a0d-4f0e-9c55-0d6a2f9b1e11",
    "google": "987654321",
}
PATIENCE_S = 30.0

CONFIG = """
server: {{port: {port}, metrics_port: {metrics_port}}}
logging: {{level: error}}
store: {{url: "sqlite:///{folder}/convey.db"}}
sources:
  - {{name: shop, keys: ["{key_hash}"], default_region: US}}
destinations:
  - {{name: meta, type: meta, pixel_id: "{meta}", access_token: demo, base_url: "{sandbox}"}}
  - {{name: tiktok, type: tiktok, pixel_code: {tiktok}, access_token: demo, base_url: "{sandbox}"}}
  - {{name: pinterest, type: pinterest, ad_account_id: "{pinterest}", access_token: demo, base_url: "{sandbox}"}}
  - {{name: snapchat, type: snapchat, pixel_id: {snapchat}, access_token: demo, base_url: "{sandbox}"}}
  - name: google
    type: google
    operating_account: 123-456-7890
    conversion_actions: {{Purchase: "{google}", Lead: "987654322", Subscribe: "987654323"}}
    credentials: '{{"type": "authorized_user", "client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}}'
    token_url: "{sandbox}/token"
    base_url: "{sandbox}"
    linger: 200ms
"""

FAULTS: dict[str, list[dict[str, Any]]] = {
    "tiktok": [{"kind": "500", "times": 1}],
    "snapchat": [{"kind": "lost_answer", "times": 1}],
}
"""What goes wrong on purpose: one platform fails once, another takes the events and loses its answer."""


def run(*, once: bool) -> int:
    """Run the demo; the exit code is 0 when everything became what it should.

    With `once` it takes free ports and ends; otherwise it stays up until interrupted.
    """
    if not (EXAMPLES / "orders.json").exists():
        fail("the sample orders are not part of this installation: run the demo from a checkout", UNUSABLE)
    return asyncio.run(_demo(once=once))


async def _demo(*, once: bool) -> int:
    key = f"ck_{secrets.token_urlsafe(24)}"
    out = console()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="convey-demo-") as folder:
        async with _platforms(0 if once else 8090) as sandbox:
            settings = _settings(Path(folder), key, sandbox, ports=(0, 0) if once else (8000, 9090))
            configure(settings.logging.level)
            async with _gateway(settings) as (api, metrics):
                out.print(
                    Text("Convey is up, with pretend Meta, TikTok, Pinterest, Snapchat and Google.", style="bold")
                )
                async with httpx.AsyncClient(
                    base_url=api, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
                ) as client:
                    differences = await _show(client, sandbox, out.print, is_wide=out.width >= 130)
                if differences:
                    for difference in differences:
                        typer.echo(f"convey: not as expected: {difference}", err=True)
                    return FAILED
                out.print("\nEvery outcome is the expected one, the ledger closes, and every order was counted once.")
                if not once:
                    _invite(api, metrics, sandbox, key)
                    await stop.wait()
    return 0


async def _show(client: httpx.AsyncClient, sandbox: str, tell: Callable[..., None], *, is_wide: bool) -> list[str]:
    """Post the orders, print what became of them, and say what is not as expected."""
    orders, expected = _load()
    async with httpx.AsyncClient(base_url=sandbox, timeout=30, trust_env=False) as platforms:
        for platform, faults in FAULTS.items():
            (await platforms.put(f"/_faults/{platform}", json={"faults": faults})).raise_for_status()
        reply = await client.post("/v1/events", json={"events": orders})
        if reply.status_code != 202:
            return [f"POST /v1/events answered {reply.status_code}"]
        results = reply.json()["results"]
        pixels = await _fire_pixels(platforms, orders, results)
        ledger = await _settled(client)
        found = await _outcomes(client, orders, results)
        counted = (await platforms.get("/_counted")).json()["platforms"]
    tell(f"Posted {len(orders)} events in one request: {_tally(results)}.\n")
    tell(_outcome_table(orders, results, found, is_wide=is_wide))
    tell(_ledger_table(ledger))
    tell(_counted_table(counted, pixels))
    return [
        *_unexpected(results, found, expected),
        *_open_accounts(ledger),
        *_miscounted(ledger, counted, _adjusted(orders, found)),
    ]


@contextlib.asynccontextmanager
async def _platforms(port: int) -> AsyncIterator[str]:
    """The pretend platforms' URL."""
    server = SandboxServer(create_sandbox(), port=port)
    try:
        url = server.start()
    except OSError as error:
        fail(f"port {port} cannot be used ({error.strerror}); `convey demo --once` takes free ports", UNUSABLE)
    try:
        yield url
    finally:
        server.stop()


@contextlib.asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    """The URLs of the API and of the metrics."""
    stop = asyncio.Event()
    ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stop, lambda api, metrics: ports.set_result((api, metrics))))
    try:
        await asyncio.wait((serving, asyncio.ensure_future(ports)), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            try:
                serving.result()
            except ConveyError as error:
                fail(f"{error}; `convey demo --once` takes free ports", UNUSABLE)
        api, metrics = ports.result()
        yield f"http://127.0.0.1:{api}", f"http://127.0.0.1:{metrics}"
    finally:
        stop.set()
        await asyncio.wait({serving})


def _settings(folder: Path, key: str, sandbox: str, ports: tuple[int, int]) -> Settings:
    config = folder / "convey.yaml"
    config.write_text(
        CONFIG.format(
            folder=folder,
            sandbox=sandbox,
            key_hash=f"sha256:{hashlib.sha256(key.encode()).hexdigest()}",
            port=ports[0],
            metrics_port=ports[1],
            **ACCOUNTS,
        )
    )
    # The demo is the demo, whatever the shell it is started from has configured.
    return load(config, {name: value for name, value in os.environ.items() if not name.startswith("CONVEY_")})


def _load() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The sample orders, moved in time as if their anchor were now, and what is to become of each."""
    orders = orjson.loads((EXAMPLES / "orders.json").read_bytes())["events"]
    expected = orjson.loads((EXAMPLES / "expected.json").read_bytes())
    shift = datetime.now(UTC) - datetime.fromisoformat(expected["anchor"])
    for order in orders:
        order["event_time"] = _shifted(order["event_time"], shift)
    return orders, expected["events"]


def _shifted(time: str | int, shift: timedelta) -> str | int:
    if isinstance(time, int):
        return time + int(shift.total_seconds() * 1000)
    try:
        return (datetime.fromisoformat(time) + shift).isoformat()
    except ValueError:
        return time  # the one order whose date does not exist


async def _fire_pixels(
    platforms: httpx.AsyncClient, orders: list[dict[str, Any]], results: list[dict[str, Any]]
) -> int:
    """Report the first orders from the browser's side as well, as the shop's pixel would; returns how many."""
    names = {"meta": "Purchase", "tiktok": "Purchase", "pinterest": "checkout", "snapchat": "PURCHASE", "google": "-"}
    pixels = [
        {
            "platform": platform,
            "account": ACCOUNTS[platform],
            "event_name": name,
            # Google's tag knows no event id: it carries the order's own.
            "event_id": order["transaction_id"] if platform == "google" else result["event_id"],
            "value": order["custom_data"]["value"],
            "currency": order["custom_data"]["currency"],
        }
        for order, result in list(zip(orders, results, strict=True))[:6]
        for platform, name in names.items()
    ]
    (await platforms.post("/_pixel", json={"events": pixels})).raise_for_status()
    return len(pixels) // len(names)


async def _settled(client: httpx.AsyncClient) -> dict[str, Any]:
    """The ledger, once nothing is pending or patience is over."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        ledger: dict[str, Any] = (await client.get("/v1/ledger")).json()["destinations"]
        if all(not account["pending"] for account in ledger.values()):
            return ledger
        if asyncio.get_running_loop().time() > deadline:
            return ledger
        await asyncio.sleep(0.1)


async def _outcomes(
    client: httpx.AsyncClient, orders: list[dict[str, Any]], results: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What became of each event, per destination; nothing for a conflict or an invalid one."""
    found: list[dict[str, Any]] = []
    for result in results:
        if result["status"] in {"conflict", "invalid"}:
            found.append({})
            continue
        reply = await client.get(f"/v1/events/{result['event_id']}")
        found.append(reply.json()["destinations"])
    return found


def _fate(delivery: dict[str, Any] | None) -> str:
    """An outcome with its reason, as the expectations spell it."""
    if delivery is None:
        return "-"
    return f"{delivery['outcome']} ({delivery['reason']})" if delivery.get("reason") else str(delivery["outcome"])


def _unexpected(
    results: list[dict[str, Any]], found: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> list[str]:
    differences = []
    for result, fates, wanted in zip(results, found, expected, strict=True):
        where = f"event {result['index']}"
        if result["status"] != wanted["status"]:
            differences.append(f"{where}: status {result['status']}, not {wanted['status']}")
        for name in DESTINATIONS:
            fate = _fate(fates.get(name))
            if fate != wanted["destinations"].get(name, "-"):
                differences.append(f"{where} at {name}: {fate}, not {wanted['destinations'].get(name, '-')}")
    return differences


def _open_accounts(ledger: dict[str, Any]) -> list[str]:
    terms = ("delivered", "dead", "expired", "withdrawn", "erased", "pending")
    return [
        f"the ledger of {name} does not close"
        for name, account in ledger.items()
        if account["queued"] != sum(account[term] for term in terms) or account["pending"]
    ]


def _adjusted(orders: list[dict[str, Any]], found: list[dict[str, Any]]) -> int:
    """How many refunds Google got: each changes the conversion of its purchase, and is none of its own."""
    return sum(
        order["event_name"] == "Refund" and fates.get("google", {}).get("outcome") == "delivered"
        for order, fates in zip(orders, found, strict=True)
    )


def _miscounted(ledger: dict[str, Any], counted: dict[str, Any], adjusted: int) -> list[str]:
    expected = {name: account["delivered"] - adjusted * (name == "google") for name, account in ledger.items()}
    return [
        f"{name} counted {counted[name]['events']} events, not {number}"
        for name, number in expected.items()
        if counted[name]["events"] != number
    ]


def _tally(results: list[dict[str, Any]]) -> str:
    statuses = [result["status"] for result in results]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


_STYLES = {"delivered": "green", "dead": "red", "expired": "red", "denied": "yellow", "skipped": "bright_black"}


def _outcome_table(
    orders: list[dict[str, Any]], results: list[dict[str, Any]], found: list[dict[str, Any]], *, is_wide: bool
) -> Table:
    """A row per event: outcome and attempts per destination, the reasons in a column of their own."""
    table = Table(title="What became of each event (outcome, attempts, reasons)", title_justify="left")
    for column in ("#", "event", *(("event_id", "status") if is_wide else ()), *DESTINATIONS, "reasons"):
        table.add_column(column)
    for order, result, fates in zip(orders, results, found, strict=True):
        cells: list[Text | str] = []
        for name in DESTINATIONS:
            delivery = fates.get(name)
            outcome = delivery["outcome"] if delivery else result["status"]
            attempts = f" {delivery['attempts']}×" if delivery and delivery["attempts"] else ""
            cells.append(Text(outcome + attempts, style=_STYLES.get(outcome, "")))
        reasons = dict.fromkeys(delivery["reason"] for delivery in fates.values() if delivery["reason"])
        ids = ((result["event_id"] or "-")[:28], result["status"]) if is_wide else ()
        table.add_row(str(result["index"]), order["event_name"], *ids, *cells, "\n".join(reasons))
    return table


def _ledger_table(ledger: dict[str, Any]) -> Table:
    table = Table(
        title="The ledger: queued = delivered + dead + expired + withdrawn + erased + pending", title_justify="left"
    )
    terms = ("queued", "delivered", "dead", "expired", "withdrawn", "erased", "pending")
    for column in ("destination", "", *terms):
        table.add_column(column, justify="left" if column in {"destination", ""} else "right")
    for name, account in ledger.items():
        table.add_row(name, "events", *(str(account[term]) for term in terms))
        for currency, amounts in sorted(account["money"].items()):
            table.add_row("", currency, *(amounts[term] for term in terms))
    return table


def _counted_table(counted: dict[str, Any], pixels: int) -> Table:
    table = Table(
        title=f"What the platforms counted ({pixels} orders were also reported by the browser's pixel; "
        "a refund at Google is sent as its order's new value)",
        title_justify="left",
    )
    for column in ("platform", "conversions", "of them reported from both sides", "sent more than once"):
        table.add_column(column, justify="left" if column == "platform" else "right")
    for name in DESTINATIONS:
        conversions = counted[name]["conversions"]
        both = sum(len(set(conversion["sources"])) > 1 for conversion in conversions)
        repeated = sum(conversion["copies"] > len(set(conversion["sources"])) for conversion in conversions)
        table.add_row(name, str(len(conversions)), str(both), str(repeated))
    return table


def _invite(api: str, metrics: str, sandbox: str, key: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # As it is, without a table's line breaks: it is meant to be pasted.
    typer.echo(
        f"""
It stays up until Ctrl-C. To try:

  export CONVEY_URL={api} CONVEY_KEY={key}
  curl -s $CONVEY_URL/v1/events -H "Authorization: Bearer $CONVEY_KEY" -H 'Content-Type: application/json' -d '{{
    "event_name": "Purchase", "event_time": "{now}", "transaction_id": "MY-1",
    "event_source_url": "https://shop.example/thanks",
    "user": {{"email": "me@example.com", "client_ip_address": "203.0.113.9", "client_user_agent": "Mozilla/5.0"}},
    "consent": {{"ad_storage": true, "ad_user_data": true, "ad_personalization": true}},
    "custom_data": {{"currency": "EUR", "value": "10.00"}}}}'
  curl -s $CONVEY_URL/v1/events/purchase_MY-1 -H "Authorization: Bearer $CONVEY_KEY"

  {api}/docs          the API, with every field
  {api}/v1/ledger     the ledger (needs the key), or: .venv/bin/convey ledger
  {metrics}/metrics       what Prometheus would see
  {sandbox}/_counted      what the pretend platforms counted
  {sandbox}/_received     what they received, field by field
"""
    )
