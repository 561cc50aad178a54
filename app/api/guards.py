"""What stands before every handler: body limit, request id, API key, and the line and the numbers about a request."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.parameters import refuse_unknown_parameters
from app.api.problems import Problem, problem_response
from app.logs import wide_event
from app.metrics import INGEST_ROUTE, Metrics

log = logging.getLogger("convey.http")

BODY_TIMEOUT_S = 30.0
"""How long the next piece of a body may take."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a key of a source. `name` is the operator's word for the key, fit for logs."""

    source: str
    name: str
    scopes: frozenset[str]
    expires: datetime | None = None


class KeyRing:
    """The API keys, by their hashes. A key is never kept, and never compared as text."""

    def __init__(self, principals: Mapping[str, Principal], now: Callable[[], datetime]) -> None:
        """`principals` maps `sha256:<hex>` to whose key it is."""
        self._principals = dict(principals)
        self._now = now

    def find(self, key: str) -> Principal | None:
        """Whose key it is; None when it is unknown or has expired.

        The look-up is by the digest of what was sent, so its timing says nothing about any stored key.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        principal = self._principals.get(f"sha256:{digest}")
        if principal is None or (principal.expires is not None and principal.expires <= self._now()):
            return None
        return principal


def authorise(request: Request, scope: str) -> Principal:
    """Who is calling, once it is clear that they may.

    Raises: Problem 401 without a usable key, 403 without the scope; 400 for a GET with parameters nobody knows.
    """
    key = bearer_key(request)
    ring: KeyRing = request.app.state.keys
    principal = ring.find(key) if key else None
    if principal is None:
        raise Problem(
            "unauthorized",
            "send `Authorization: Bearer <key>` with a key that is configured and has not expired",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.scope["convey.source"] = principal.source
    request.scope["convey.key_name"] = principal.name
    if scope not in principal.scopes:
        raise Problem("forbidden", f"this key does not have the scope `{scope}`")
    if request.method == "GET":  # a POST is never refused for what somebody appended to its address
        refuse_unknown_parameters(request)
    return principal


def bearer_key(request: Request) -> str:
    """The key in the Authorization header; empty when there is none."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        metrics: Metrics,
        refused: Callable[[str | None, str], None] | None = None,
    ) -> None:
        """`refused` is told of each request with events that was refused whole: its source if known, the problem."""
        self._app = app
        self._refused = refused
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope["headers"])
        scope["convey.request_id"] = request_id
        scope["convey.trace_id"] = trace_id_of(_header(scope["headers"], b"traceparent"))
        status = 500
        received = 0
        has_all = False
        too_slow = Problem(
            "body_too_slow", "the rest of the body did not come in time", headers={"Connection": "close"}
        )
        too_large = Problem(
            "body_too_large",
            f"the body may have at most {self._max_body_bytes} bytes; send fewer events at once",
            # What is left of the body is not read, so the connection is of no further use.
            headers={"Connection": "close"},
        )

        async def counted() -> Message:
            nonlocal received, has_all
            try:
                async with asyncio.timeout(None if has_all else BODY_TIMEOUT_S):
                    message = await receive()
            except TimeoutError as error:
                raise too_slow from error
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                has_all = not message.get("more_body", False)
                if received > self._max_body_bytes:
                    raise too_large
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if _content_length(scope["headers"]) > self._max_body_bytes:
                await problem_response(Request(scope), too_large)(scope, receive, watched)
            else:
                await self._app(scope, counted, watched)
        finally:
            self._observe(scope, status, received, time.perf_counter() - began)

    def _observe(self, scope: Scope, status: int, received: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched").replace(":path", "")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        labels = (route, method, f"{status // 100}xx")
        children = self._children.get(labels)
        if children is None:
            children = self._metrics.http_requests.labels(*labels), self._metrics.http_duration.labels(*labels)
            self._children[labels] = children
        problem = scope.get("convey.problem")
        if problem is not None and 400 <= status < 500 and (method, scope["path"]) == ("POST", INGEST_ROUTE):
            self._tell_refused(scope.get("convey.source"), problem)
        trace_id = scope["convey.trace_id"]
        children[0].inc()
        children[1].observe(seconds, {"trace_id": trace_id} if trace_id else None)
        wide_event(
            log,
            "request",
            level=logging.DEBUG if route in _QUIET else logging.INFO,
            request_id=scope["convey.request_id"],
            trace_id=trace_id,
            method=method,
            route=route,
            code=status,
            problem=problem,
            source=scope.get("convey.source"),
            key_name=scope.get("convey.key_name"),
            events=scope.get("convey.events"),
            **scope.get("convey.told", {}),
            body_bytes=received,
            duration_ms=round(seconds * 1000, 2),
        )

    def _tell_refused(self, source: str | None, problem: str) -> None:
        if self._refused is not None and problem != _EACH_INVALID:
            self._refused(source, problem)


_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
_EACH_INVALID = "invalid_events"
"""Refused event by event, each with its own faults."""
_QUIET = frozenset({"/livez", "/readyz"})


_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
"""Source: https://www.w3.org/TR/trace-context/ section 3.2, read 2026-11; a later version may append fields."""


def trace_id_of(traceparent: str) -> str | None:
    """The trace id of a W3C `traceparent` header; None when there is none or it is not well-formed."""
    found = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    return found[1] if found and (found[2] is None or not traceparent.startswith("00")) else None


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    value = _header(headers, b"content-length")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    sent = _header(headers, b"x-request-id")
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
