"""The gateway's own server and middleware around a route that does nothing: `python -m bench.empty CONFIG`.

What it answers per second is what there is to lose before the first event is looked at.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fastapi import FastAPI, Response

from app import __version__
from app.api import problems
from app.api.guards import Guard
from app.config import Settings, load
from app.logs import configure, wide_event
from app.main import _listening, _loop_factory, _server_config
from app.metrics import Metrics
from app.runtime import log


def create_app(settings: Settings) -> FastAPI:
    """`POST /v1/events` answering an empty 202, behind what stands before every handler."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/events", status_code=202)
    async def post_events() -> Response:
        return Response(status_code=202)

    problems.install(app)
    app.add_middleware(Guard, max_body_bytes=settings.server.max_body_bytes, metrics=Metrics(__version__))
    return app


async def serve(settings: Settings) -> None:
    """Serve until killed; the port is in the log line `started`, as with the gateway."""
    async with _listening(_server_config(create_app(settings), settings, settings.server.host, 0)) as server:
        wide_event(log, "started", version=__version__, port=server.port)
        await asyncio.Event().wait()


if __name__ == "__main__":
    configured = load(Path(sys.argv[1]), {})
    configure(configured.logging.level)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(configured))
