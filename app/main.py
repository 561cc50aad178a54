"""The application: routes, guards and problem bodies around a runtime, and the process that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client.exposition import choose_encoder
from pydantic.json_schema import models_json_schema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import __version__
from app.api import (
    audit,
    contexts,
    dead_letters,
    destinations,
    erasures,
    event_ids,
    events,
    explain,
    health,
    holds,
    ledger,
    match_keys,
    orders,
    privacy,
    problems,
    proofs,
    receipts,
    rejects,
)
from app.api.connection import BoundedProtocol
from app.api.guards import Guard, KeyRing
from app.api.health import Health
from app.config import Role, Settings
from app.erasing import Erasing
from app.errors import ConveyError
from app.logs import configure, wide_event
from app.metrics import Metrics
from app.notices import notices
from app.policies import principals
from app.runtime import Runtime, log
from app.starting import Front, create_starting_app
from app.stores import utc_now

DESCRIPTION = "Post conversion events once; Convey delivers each to every ad platform, and counts it once."


def create_app(runtime: Runtime) -> FastAPI:
    """The HTTP service over an opened runtime: for a worker, the probes alone.

    The runtime is the caller's to start and to close.
    """
    server = runtime.settings.server
    has_docs = server.docs and runtime.role.takes_events
    app = FastAPI(
        title="Convey",
        version=__version__,
        description=DESCRIPTION,
        docs_url="/docs" if has_docs else None,
        redoc_url=None,
        # A redirect would name the host the client claims, and a client would follow it with key and body.
        redirect_slashes=False,
        openapi_url="/openapi.json" if has_docs else None,
    )
    app.state.keys = runtime.keys
    app.state.ingest = runtime.ingest
    app.state.journal = runtime.store
    app.state.outbox = runtime.store
    app.state.board = runtime.board
    app.state.destinations = tuple(destination.name for destination in runtime.settings.destinations)
    app.state.ids = runtime.store
    app.state.journal_retention = runtime.settings.store.journal_retention
    app.state.pairs = runtime.store.pairs
    app.state.tallies = runtime.tallies
    app.state.tally_store = runtime.store.tallies
    app.state.platforms = {lane.name: lane.type for lane in runtime.settings.destinations}
    app.state.withdrawals = runtime.withdrawals
    app.state.erasing = Erasing(runtime.store, runtime.withdrawals, runtime.asked_later, runtime.now)
    app.state.longest_send = max(lane.tuning.timeout for lane in runtime.settings.destinations)
    app.state.memos = runtime.store
    app.state.asked_later = runtime.asked_later
    app.state.proofs = runtime.store.proofs
    app.state.policies = runtime.policies
    app.state.receipt_limits = receipts.ReceiptLimits(
        {source.name: source.receipts_per_minute for source in runtime.settings.sources}
    )
    app.state.now = runtime.now
    app.state.limits = runtime.limits
    app.state.health = runtime.health
    app.state.max_events = server.max_events
    app.state.strict_sources = runtime.strict_sources
    modules = (
        (
            explain,
            events,
            holds,
            orders,
            event_ids,
            contexts,
            receipts,
            destinations,
            dead_letters,
            ledger,
            audit,
            match_keys,
            rejects,
            privacy,
            erasures,
            proofs,
            health,
        )
        if runtime.role.takes_events
        else (health,)
    )
    for module in modules:
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(
        Guard, max_body_bytes=server.max_body_bytes, metrics=runtime.metrics, refused=runtime.rejects.count_request
    )
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with the event's own schema, which no route declares (its body is parsed once)."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, extra = models_json_schema(
            [
                (model, "validation")
                for module in (
                    events,
                    orders,
                    event_ids,
                    contexts,
                    receipts,
                    destinations,
                    dead_letters,
                    privacy,
                    erasures,
                )
                for model in module.MODELS
            ],
            ref_template="#/components/schemas/{model}",
        )
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {}).update(extra.get("$defs", {}))
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def create_metrics_app(metrics: Metrics) -> Starlette:
    """`/metrics` alone, for its own port: OpenMetrics where the scraper asks for it, else the classic text."""

    async def scrape(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), media_type=media_type)

    return Starlette(routes=[Route("/metrics", scrape)])


class _Server(uvicorn.Server):
    """A server whose signals the process handles: it runs two servers and a worker, and they stop in order."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.serving: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Refuse connections, finish the requests under way within their grace. Calling it again does nothing."""
        self.should_exit = True
        if self.serving is not None:
            await asyncio.wait({self.serving})

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @property
    def port(self) -> int:
        """The port it listens on, also where the configuration said 0."""
        return int(self.servers[0].sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def _listening(config: uvicorn.Config) -> AsyncIterator[_Server]:
    """A server that accepts connections; on leaving, it finishes the requests under way within its grace."""
    server = _Server(config)
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family, backlog=config.backlog)
    except OSError as error:
        raise ConveyError(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from error
    server.serving = asyncio.create_task(server.serve([listener]), name="server")
    try:
        await server.listening.wait()
        yield server
    finally:
        await server.close()


def _server_config(app: Any, settings: Settings, host: str, port: int) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(server.keep_alive.total_seconds()),
        timeout_graceful_shutdown=int(server.graceful_shutdown.total_seconds()),
        limit_concurrency=server.limit_concurrency,
        # The peer is a backend: what it or a proxy says of addresses is never a shopper's.
        proxy_headers=False,
    )


async def run(
    settings: Settings,
    stop: asyncio.Event,
    started: Callable[[int, int], None] | None = None,
    role: Role = Role.ALL,
) -> None:
    """Serve until `stop` is set: then refuse connections, finish requests, drain the lanes, close the store.

    `started` is told the ports of the API and of the metrics once both listen.

    Raises: ConveyError when the store or a port cannot be had; whatever made a lane fail.
    """
    server = settings.server
    state = Health()
    front = Front(create_starting_app(state, KeyRing(principals(settings), utc_now)))
    async with (
        _listening(_server_config(front, settings, server.host, server.port)) as api,
        Runtime.open(settings, role, stop=stop, health=state) as runtime,
        _listening(
            _server_config(create_metrics_app(runtime.metrics), settings, server.metrics_host, server.metrics_port)
        ) as metrics_server,
    ):
        front.app = create_app(runtime)
        wide_event(
            log,
            "started",
            version=__version__,
            role=role,
            host=server.host,
            port=api.port,
            metrics_port=metrics_server.port,
        )
        if started is not None:
            started(api.port, metrics_server.port)
        try:
            await runtime.until_failed_or(stop)
            state.close()
        finally:
            await api.close()
        await runtime.drain()


def serve(settings: Settings, role: Role = Role.ALL) -> None:
    """Serve in this process until SIGTERM or SIGINT; a second signal stops at once.

    Raises: ConveyError when it cannot start.
    """
    configure(settings.logging.level)
    wide_event(log, "configured", version=__version__, role=role, config=settings.summary())
    for warning in (*settings.warnings, *notices(settings.destinations, utc_now().date())):
        wide_event(log, "config.warning", pointer=warning.pointer, detail=warning.detail)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal(number: signal.Signals) -> None:
            if stop.is_set():
                raise SystemExit(128 + number)
            wide_event(log, "stopping", signal=number.name)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        # What is loaded by now stays, and an event's values make no cycles: the collector has little to look for.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)
        await run(settings, stop, role=role)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    wide_event(log, "stopped")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on platforms it does not serve
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
