"""The sandbox as an app and as a server: in process, in a background thread, or in the foreground."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.sandbox import control, google_side, meta_node, quality
from app.sandbox.gate import TRANSPORT, Gate
from app.sandbox.state import PLATFORM_NAMES, State

DEFAULT_PORT = 8090
MAX_BODY_BYTES = 16 * 1024 * 1024
BLAMING = ("tiktok", "google")
"""The platforms whose errors are known to name the index of the bad event."""


def create_sandbox(
    *,
    keep_events: int = 200_000,
    max_body_bytes: int = MAX_BODY_BYTES,
    blame_index: Collection[str] = BLAMING,
) -> Starlette:
    """The ASGI app; its state is `app.state.sandbox`.

    Args:
        keep_events: how many accepted events, and counted conversions per platform, are remembered.
        max_body_bytes: larger bodies are answered with 413.
        blame_index: the platforms whose error names the index of the bad event.
    """
    state = State(keep_events)
    gate = Gate(state, blame_index=frozenset(blame_index), max_body_bytes=max_body_bytes)
    side = google_side.routes(state.google, state.now)
    app = Starlette(
        routes=[
            *control.routes(state),
            *side,
            *quality.routes(state),
            *meta_node.routes(state.new_trace),
            Mount("/", app=gate),
        ],
        exception_handlers=dict(control.HANDLERS),
    )
    app.state.sandbox = state
    return app


class _Protocol(HttpToolsProtocol):
    """HTTP whose requests carry their transport, so that the app can drop the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class _Uvicorn(uvicorn.Server):
    """A server that says when it is up and, when told to stop, waits for nobody."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=75,
            )
        )
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await super().shutdown(sockets)


class SandboxServer:
    """A sandbox over real HTTP.

    `start()` and `stop()`, or a `with` block, run it in a background thread; `run()` in the foreground.
    Port 0 takes a free one; `url` and `port` are known once it is bound.
    """

    def __init__(self, app: ASGIApp | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.app = create_sandbox() if app is None else app
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None
        self._server = _Uvicorn(self.app)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The origin to set as a destination's `base_url`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def bind(self) -> str:
        """The URL, with the port open: connections wait until the server runs."""
        if self._socket is None:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self._socket = socket.create_server((self.host, self.port), family=family, backlog=2048)
            self.port = self._socket.getsockname()[1]
        return self.url

    def run(self) -> None:
        """Serve in this thread until SIGINT or SIGTERM."""
        self.bind()
        assert self._socket is not None
        self._server.run([self._socket])

    def start(self, timeout_s: float = 10.0) -> str:
        """The URL of the server, up and running in a background thread.

        Raises:
            TimeoutError: when it is not up in time.
        """
        self.bind()
        self._thread = threading.Thread(target=self.run, name="sandbox", daemon=True)
        self._thread.start()
        if not self._server.up.wait(timeout_s):
            raise TimeoutError("the sandbox did not start")
        return self.url

    def stop(self) -> None:
        """Stop the background server; open connections are dropped."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    port_file: str | os.PathLike[str] | None = None,
    keep_events: int = 200_000,
    blame_index: Collection[str] = BLAMING,
) -> None:
    """Run a sandbox until it is interrupted; its URL is printed, its port written to `port_file`."""
    app = create_sandbox(keep_events=keep_events, blame_index=blame_index)
    server = SandboxServer(app, host=host, port=port)
    url = server.bind()
    if port_file is not None:
        _write_whole(Path(port_file), f"{server.port}\n")
    sys.stdout.write(f"sandbox listening on {url}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def _write_whole(path: Path, text: str) -> None:
    """Write a file that a reader sees complete or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line."""
    parser = argparse.ArgumentParser(
        "convey sandbox", description="Pretend Meta, TikTok, Pinterest, Snapchat and Google."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free port")
    parser.add_argument("--port-file", help="write the port to this file")
    parser.add_argument("--keep-events", type=int, default=200_000, help="how many events to remember")
    parser.add_argument(
        "--blame-index",
        action="append",
        choices=PLATFORM_NAMES,
        help="a platform whose errors name the index of the bad event (default: tiktok, google)",
    )
    given = parser.parse_args(argv)
    blame = given.blame_index if given.blame_index is not None else BLAMING
    serve(
        given.host,
        given.port,
        port_file=given.port_file,
        keep_events=given.keep_events,
        blame_index=blame,
    )
    return 0
