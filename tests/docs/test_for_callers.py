"""The snippets for callers, run as they stand against a gateway that first refuses and then takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.e2e.harness import KEY, Gateway, Order, orders, sandbox_running
from tests.ops import tools

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "for-callers.md").read_text("utf-8")


def snippet(name: str) -> str:
    """The block that is marked as tested under this name."""
    (found,) = re.findall(rf"<!-- test: {name} -->\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with sandbox_running() as sandbox:
        made = Gateway(tmp_path_factory.mktemp("callers"), sandbox.url)
        try:
            made.start()
            yield made
        finally:
            made.close()


class Flaky(BaseHTTPRequestHandler):
    """Refuses, or takes the event and loses the answer, before it lets a request through."""

    target: ClassVar[str] = ""
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Flaky.seen.append(self.path)
        if len(Flaky.seen) == 1:
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
        answer = httpx.post(Flaky.target + self.path, content=body, headers=headers, trust_env=False)
        if len(Flaky.seen) == 2:
            self.close_connection = True
            return  # kept, and nobody hears of it
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def flaky(gateway: Gateway) -> Iterator[str]:
    """The URL of a path to the gateway that fails twice first."""
    Flaky.target, Flaky.seen = gateway.url, []
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def mixed(order: Order) -> list[dict[str, Any]]:
    """A good order, the same again, and one without a time."""
    return [order.event, order.event, {**order.event, "event_time": None, "transaction_id": "other"}]


def test_the_curl_snippet(flaky: str) -> None:
    environ = {**os.environ, "CONVEY_URL": flaky, "CONVEY_KEY": KEY}
    words = ["bash", "-c", snippet("curl")]
    ran = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    (result,) = json.loads(ran.stdout)["results"]
    assert (result["status"], result["event_id"]) == ("duplicate", "purchase_ORD-1001")
    assert len(Flaky.seen) == 3


def test_the_python_snippet(flaky: str) -> None:
    names: dict[str, Any] = {}
    exec(snippet("python"), names)
    (order,) = orders("PY", 1)
    results = names["post"](mixed(order), flaky, KEY)
    assert [result["status"] for result in results] == ["duplicate", "duplicate", "invalid"]
    assert names["lost"](results) == results[2:]
    assert len(Flaky.seen) == 3
    with pytest.raises(ValueError, match="401"):
        names["post"](mixed(order), flaky, "ck_wrong")


def test_the_node_snippet(flaky: str) -> None:
    (order,) = orders("JS", 1)
    call = f"post({json.dumps(mixed(order))}, {json.dumps(flaky)}, {json.dumps(KEY)})"
    script = f"{snippet('node')}\n{call}.then((results) => console.log(JSON.stringify(results)));"
    ran = subprocess.run([tools.find_node(), "-e", script], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [result["status"] for result in json.loads(ran.stdout)] == ["duplicate", "duplicate", "invalid"]
