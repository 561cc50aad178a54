"""What the API's port answers while the store is waited for: the probes, and 503 to everything else."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import health, problems
from app.api.guards import KeyRing
from app.errors import StoreUnavailable


class Front:
    """An application that hands each request to another one, which may be replaced at any time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self.app(scope, receive, send)


def create_starting_app(state: health.Health, keys: KeyRing) -> FastAPI:
    """The HTTP service of a process without a store: alive, not ready, and nothing is accepted."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.health = state
    app.state.keys = keys
    app.include_router(health.router)
    app.add_api_route("/{path:path}", _not_yet, methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
    problems.install(app)
    return app


async def _not_yet(_request: Request) -> None:
    raise StoreUnavailable("the process is starting and has no store yet")
