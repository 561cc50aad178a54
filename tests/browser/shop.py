"""A shop on the web: its pages are those of the docs, its pixels stubs that tell it what they were called with."""

from __future__ import annotations

import json
import re
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from examples.checkout_page import thank_you_page
from tests.e2e.harness import ACCOUNTS, Sandbox

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "pixels.md").read_text("utf-8")
GOOGLE_ACTION = "987654321"
RENAMED, SINGLE, TYPED = "renamed", "app", "typed"
COOKIES = {"_fbp": "fb.1.1795168500000.4711", "_ttp": "2abCdEfGhIjKlMnOpQrStUvWxYz", "_scid": "9f2b-4c1d"}

STUBS = """
{
  const told = (pixel) => (...call) => navigator.sendBeacon("/fired", JSON.stringify({ pixel, call }));
  window.fbq = told("fbq");
  window.ttq = { track: told("ttq") };
  window.pintrk = told("pintrk");
  window.snaptr = told("snaptr");
  window.gtag = told("gtag");
}
"""
"""In place of the platforms' base codes: each call comes to the shop, even from a page that is left."""


def docs_block(containing: str) -> str:
    """The one script of the docs page that holds these words."""
    (found,) = [text for text in re.findall(r"^```js\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL) if containing in text]
    return str(found)


class Shop:
    """The shop's server. `fired` lists what its pixels were called with; `left` the orders whose page was left."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.convey: dict[str, str] = {}
        self.totals: dict[str, Decimal] = {}
        self.fired: list[tuple[str, list[Any]]] = []
        self.left: list[str] = []
        self.ids: dict[str, str] = {}

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_origin(self) -> str:
        """The same pages under a name that the gateway does not know."""
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def page(self, kind: str, number: str, url: str, user_agent: str) -> str:
        """The page that is shown after order `number`."""
        if kind == SINGLE:
            app = docs_block("async function orderDone").replace(
                "https://convey.shop.example", self.convey["public_url"]
            )
            app = app.replace("ck_receipts-only", self.convey["receipts_key"])
            scripts = f'<script src="/stubs.js"></script><script src="/convey-pixels.js"></script><script>{app}'
            leave = f'orderDone("{number}").then(() => {{ location.href = "/left/{number}"; }})'
            return f"<!doctype html>{scripts}\n{leave}</script>"
        order = {"number": number, "currency": "EUR", "total": str(self.totals[number])}
        shopper = {
            "ip": "203.0.113.9",
            "user_agent": user_agent,
            "cookies": COOKIES,
            "url": f"https://shop.example{url}",
            "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
        }
        page = thank_you_page(order, shopper, self.convey, '<script src="/stubs.js"></script>')
        if kind == RENAMED:  # somebody pasted the call of another release
            assert 'ttq.track("Purchase"' in page
            page = page.replace('ttq.track("Purchase"', 'ttq.track("CompletePayment"')
        if kind == TYPED:
            page = page.replace("/convey-pixels.js", "/typed.js")
        return page + f'<script>location.href = "/left/{number}";</script>'

    def mint(self, number: str, user_agent: str) -> dict[str, Any]:
        """What the shop's backend tells its app of an order."""
        user = {"client_ip_address": "203.0.113.9", "client_user_agent": user_agent, "fbp": COOKIES["_fbp"]}
        answer = httpx.put(
            f"{self.convey['url']}/v1/event-ids/Purchase/{number}",
            json={"context": {"user": user}},
            headers={"Authorization": f"Bearer {self.convey['key']}"},
        ).raise_for_status()
        return {"event_id": answer.json()["event_id"], "currency": "EUR", "value": float(self.totals[number])}

    def note(self, pixel: str, call: list[Any]) -> None:
        """Keep what a pixel was called with, and let its platform have it."""
        self.fired.append((pixel, call))
        self._sandbox.fire_pixels([_copy(pixel, call)])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                first, *rest = unquote(self.path.partition("?")[0]).strip("/").split("/")
                if first in {"thanks", RENAMED, SINGLE, TYPED}:
                    self._answer(shop.page(first, rest[0], self.path, self.headers["User-Agent"]), "text/html")
                elif first == "stubs.js":
                    self._answer(STUBS, "text/javascript")
                elif first == "convey-pixels.js":
                    self._answer(docs_block("function conveyPixels"), "text/javascript")
                elif first == "typed.js":
                    self._answer(typed(docs_block("function conveyPixels")), "text/javascript")
                elif first == "left":
                    self._answer("<!doctype html>elsewhere", "text/html")
                    shop.left.append(rest[0])
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                if self.path == "/fired":
                    told = json.loads(body)
                    shop.note(told["pixel"], told["call"])
                    self._answer("", "text/plain")
                else:
                    self._answer(
                        json.dumps(shop.mint(self.path.split("/")[2], self.headers["User-Agent"])), "application/json"
                    )

            def _answer(self, text: str, kind: str) -> None:
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def typed(script: str) -> str:
    """The script as many would write it: the receipts as JSON by name, for which a browser asks leave first."""
    text = "JSON.stringify({ key, receipts })"
    assert text in script
    return script.replace(text, f'new Blob([{text}], {{ type: "application/json" }})')


def _copy(pixel: str, call: list[Any]) -> dict[str, Any]:
    """What a platform makes of its pixel's call."""
    if pixel == "ttq":
        name, data, ids = call
    else:
        _, name, data, *more = call
        ids = more[0] if more else {}
    platform, event_id, order_id, value = {
        "fbq": ("meta", ids.get("eventID"), None, data.get("value")),
        "ttq": ("tiktok", ids.get("event_id"), None, data.get("value")),
        "pintrk": ("pinterest", data.get("event_id"), data.get("order_id"), data.get("value")),
        "snaptr": ("snapchat", data.get("client_dedup_id"), data.get("transaction_id"), data.get("price")),
        "gtag": ("google", None, data.get("transaction_id"), data.get("value")),
    }[pixel]
    account = GOOGLE_ACTION if platform == "google" else ACCOUNTS[platform]
    copy = {"platform": platform, "account": account, "event_name": GOOGLE_ACTION if platform == "google" else name}
    return copy | {"event_id": event_id, "order_id": order_id, "value": str(value), "currency": data["currency"]}
