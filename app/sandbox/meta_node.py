"""Reading a dataset's own node at Meta: a token that may only send is told that it may not, one that is dead so.

Source: https://developers.facebook.com/docs/marketing-api/conversions-api/get-started (tokens made in Events Manager
cannot read the dataset: `(#100) Missing permission`), read 2026-11; the dead token's answer is that of the events edge.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.base import bearer
from app.sandbox.meta import error


def routes(new_trace: Callable[[], str]) -> list[Route]:
    """The one call there is."""

    async def node(request: Request) -> Response:
        token = bearer(dict(request.headers)) or request.query_params.get("access_token")
        if not token or token.startswith("DEAD"):
            reply = error("token_dead" if token else "token_missing", new_trace(), {})
            return JSONResponse(reply.body, reply.status)
        body = {
            "message": "(#100) Missing permission",
            "type": "OAuthException",
            "code": 100,
            "fbtrace_id": new_trace(),
        }
        return JSONResponse({"error": body}, 400)

    return [Route("/v{version}/{account:int}", node, methods=["GET"])]
