"""What the canaries run through, and everything it writes: a gateway in a process of its own, platforms that listen."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.sandbox.server import SandboxServer, create_sandbox
from tests.e2e.harness import KEY, PLATFORMS, Gateway, free_port, source, wait_until

KEYS = {"shop": KEY, "strict": "ck_canary-strict", "telling": "ck_canary-telling", "admin": "ck_canary-admin"}
"""By source; `admin` is another key of the shop's."""
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "429", "retry_after_s": 1},
    {"kind": "500"},
    {"kind": "reset"},
    {"kind": "html"},
    {"kind": "lost_answer"},
    {"kind": "half_body"},
    {"kind": "error_200"},
    {"kind": "hang", "max_s": 3},
    {"kind": "partial"},
    {"kind": "slow", "delay_s": 0.1},
)
"""Every trouble that passes, in an order in which each one still meets an event."""
TUNING = {"timeout": "1s", "lease": "7s", "retry": {"first": "100ms", "cap": "1s"}}
MAX_BODY_BYTES = 256 * 1024
MAX_EVENTS = 200


class Platforms:
    """The sandbox, with every byte of every request to a platform written down, also of those it refuses."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._server = SandboxServer(self._listening(create_sandbox()))
        self.url = self._server.start()
        self._http = httpx.Client(base_url=self.url, timeout=30)

    def close(self) -> None:
        """Stop it."""
        self._http.close()
        self._server.stop()

    def _listening(self, app: ASGIApp) -> ASGIApp:
        async def listen(scope: Scope, receive: Receive, send: Send) -> None:
            async def overheard() -> Message:
                message = await receive()
                self.heard.append(message.get("body", b""))
                return message

            if scope["type"] != "http" or scope["path"].startswith("/_"):
                await app(scope, receive, send)
                return
            headers = b"\n".join(name + b": " + value for name, value in scope["headers"])
            self.heard.append(b"\n" + scope["raw_path"] + b"?" + scope["query_string"] + b"\n" + headers + b"\n")
            await app(scope, overheard, send)

        return listen

    def play(self, *faults: Mapping[str, Any]) -> None:
        """Play these faults, in order, at every platform."""
        for platform in PLATFORMS:
            reply = self._http.put(f"/_faults/{platform}", json={"faults": list(faults)})
            assert reply.status_code == 200, reply.text

    def unplayed(self) -> list[str]:
        """The faults that met no request yet."""
        scripts = self._http.get("/_faults").json()["platforms"]
        unused = [(name, fault["kind"]) for name, faults in scripts.items() for fault in faults if not fault["used"]]
        return [f"{kind} at {name}" for name, kind in unused]

    def received(self) -> bytes:
        """What the platforms took, as their control API shows it."""
        reply = self._http.get("/_received", params={"bodies": "true", "limit": 100_000})
        assert reply.status_code == 200
        assert reply.json()["dropped"] == 0
        return reply.content


class Client:
    """A backend that keeps every answer it gets, head and body."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, bytes] = {}
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def ask(
        self, about: str, status: int | None, method: str, path: str, *, source: str | None = "shop", **request: Any
    ) -> httpx.Response:
        """The answer to one request, which must have `status` unless that is None."""
        headers = {"content-type": "application/json", **request.pop("headers", {})}
        if source is not None:
            headers.setdefault("authorization", f"Bearer {KEYS[source]}")
        reply = self._http.request(method, path, headers=headers, **request)
        self._keep(about, reply)
        assert status in (None, reply.status_code), f"{about}: {reply.status_code}, not {status}\n{reply.text[:2000]}"
        return reply

    def post(self, about: str, status: int | None, *events: Any, source: str = "shop") -> list[dict[str, Any]]:
        """The results of posting these events in one request."""
        reply = self.ask(about, status, "POST", "/v1/events", source=source, content=json.dumps({"events": events}))
        results: list[dict[str, Any]] = reply.json()["results"]
        return results

    def _keep(self, about: str, reply: httpx.Response) -> None:
        head = b"\n".join(name + b": " + value for name, value in reply.headers.raw)
        first = f"{reply.status_code} {reply.reason_phrase}\n".encode()
        self.answers[f"answer {len(self.answers)}: {about}"] = first + head + b"\n\n" + reply.content

    def send_raw(self, about: str, request: bytes) -> None:
        """Send bytes that need not be HTTP, and keep what comes back until the connection ends."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = bytearray()
            with contextlib.suppress(ConnectionError):
                while chunk := connection.recv(65536):
                    answer += chunk
        self.answers[f"answer {len(self.answers)}: {about}"] = bytes(answer)


class Stage:
    """One gateway with its files, its platforms and its client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.platforms = Platforms()
        self.secrets = {name: folder / f"{name}.token" for name in PLATFORMS}
        self.metrics_url = f"http://127.0.0.1:{free_port()}"
        self.gateway = Gateway(
            folder / "gateway",
            self.platforms.url,
            tuning=TUNING,
            server={
                "metrics_port": int(self.metrics_url.rpartition(":")[2]),
                "max_body_bytes": MAX_BODY_BYTES,
                "max_events": MAX_EVENTS,
            },
            sources=[
                source("shop", keys=[_key("shop"), _key("admin", "ingest", "read", "admin")]),
                _source("strict", strict=True, leak_policy="reject"),
                _source("telling", leak_policy="report"),
            ],
            secrets={name: {"file": str(path)} for name, path in self.secrets.items()},
        )
        config = json.loads(self.gateway.config.read_text())
        self.gateway.config.write_text(json.dumps({**config, "logging": {"level": "debug"}}))
        self.customer: Any = None
        """The external id of somebody whose order was taken."""
        self.client = Client(self.gateway.url)
        self.scraper = Client(self.metrics_url)

    def close(self) -> None:
        """Leave nothing behind."""
        self.client.close()
        self.scraper.close()
        self.gateway.close()
        self.platforms.close()

    def write_tokens(self, token: str) -> None:
        """Give every destination this token."""
        for path in self.secrets.values():
            part = path.with_suffix(".part")
            part.write_text(token)
            part.replace(path)

    def wait_for_log(self, event: str, count: int, **fields: Any) -> None:
        """Return when the gateway has logged an event so often."""
        wait_until(f"{count} lines {event} {fields}", lambda: len(self.gateway.logged(event, **fields)) >= count)

    def scrape(self) -> None:
        """Read the metrics in both of their formats."""
        for media_type in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            headers = {"accept": media_type}
            self.scraper.ask(f"metrics as {media_type}", 200, "GET", "/metrics", source=None, headers=headers)

    def files(self, moment: str) -> dict[str, bytes]:
        """Every byte of every file the gateway has written, as they are now."""
        paths = [path for path in sorted(self.gateway.folder.iterdir()) if path != self.gateway.config]
        return {f"{path.name} {moment}": path.read_bytes() for path in paths}


def _key(name: str, *scopes: str) -> dict[str, Any]:
    digest = hashlib.sha256(KEYS[name].encode()).hexdigest()
    return {"hash": f"sha256:{digest}", **({"scopes": list(scopes)} if scopes else {})}


def _source(name: str, **more: Any) -> dict[str, Any]:
    return source(name, KEYS[name], event_id_template=name + "_{event_name}_{transaction}", **more)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stage that is cleared afterwards."""
    stage = Stage(folder)
    try:
        yield stage
    finally:
        stage.close()


def batches(events: Sequence[Any], size: int = MAX_EVENTS) -> Iterator[Sequence[Any]]:
    """The events in requests of at most `size`."""
    for start in range(0, len(events), size):
        yield events[start : start + size]
