"""The platforms' own paths: read a request, play its fault, let the platform answer, keep what it took."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from app.sandbox.base import Call, ErrorKind, Label, Platform, Reply, events_of
from app.sandbox.faults import MAX_HANG_S, Fault, failing_indexes
from app.sandbox.google import google
from app.sandbox.meta import META
from app.sandbox.pinterest import PINTEREST, as_detailed_error
from app.sandbox.snapchat import SNAPCHAT
from app.sandbox.state import State
from app.sandbox.tiktok import TIKTOK

PLATFORMS: tuple[Platform, ...] = (META, TIKTOK, PINTEREST, SNAPCHAT)
TRANSPORT = "convey.transport"  # the scope extension through which a connection can be dropped
HTML = b"<!doctype html><html><head><title>Sorry</title></head><body><h1>Something went wrong</h1></body></html>"

_ERROR_FAULTS: dict[str, ErrorKind] = {
    "429": "throttled",
    "500": "failed",
    "error_200": "failed",
    "dead_token": "token_dead",
    "partial": "refused",
}


class ConnectionDropped(ConnectionError):
    """The connection had to be dropped, and the server offers no transport: the caller runs in process."""


class Gate:
    """The ASGI app behind every path that is not a control endpoint."""

    def __init__(self, state: State, *, blame_index: frozenset[str], max_body_bytes: int) -> None:
        self._state = state
        self._platforms = (*PLATFORMS, google(state.google))
        self._blame_index = blame_index
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request as the platform would, or as the fault script has it."""
        try:
            body = await _read_body(receive, self._max_body_bytes)
        except ConnectionAbortedError:
            return
        outlet = Outlet(scope, receive, send)
        path, now, trace = scope["path"], self._state.clock.read(), self._state.new_trace()
        platform, call = _address(self._platforms, scope, body, now, trace)
        if platform is None or call is None:
            row = self._open(platform, path, now, trace, unexpected=True)
            reply = platform.error("not_found", trace, {}) if platform else Reply(404, {"error": "not found"})
            self._state.close_request(row, reply.status, 0)
            await outlet.reply(reply)
            return
        call = replace(call, blame=platform.name in self._blame_index)
        labels = _Labels(platform, call.payload)
        fault = self._state.scripts[platform.name].pick(call.account, platform.token(call), labels)
        row = self._open(platform, path, now, trace, call=call, fault=fault)
        status: int | None = None
        accepted = 0
        try:
            if body is None:
                reply = platform.error("too_large", trace, {})
                status = reply.status
                await outlet.reply(reply)
            elif fault is not None and fault.kind == "html":
                status = fault.options.get("status", 200)
                await outlet.send(status, HTML, "text/html; charset=utf-8", {})
            elif await _before(fault, outlet):
                reply, accepted = self._process(platform, call, fault, labels)
                row["accepted"] = accepted
                status = await _after(fault, reply, outlet)
        finally:
            self._state.close_request(row, status, accepted)

    def _open(
        self,
        platform: Platform | None,
        path: str,
        now: float,
        trace: str,
        *,
        call: Call | None = None,
        fault: Fault | None = None,
        unexpected: bool = False,
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "platform": platform.name if platform else None,
            "account": call.account if call else None,
            "path": path,
            "status": None,
            "events": len(events_of(call.payload)) if call else 0,
            "accepted": 0,
            "fault": fault.kind if fault else None,
            "unexpected": unexpected,
            "trace_id": trace,
            "at": now,
            "real_at": time.time(),
        }
        return self._state.open_request(row)

    def _process(self, platform: Platform, call: Call, fault: Fault | None, labels: _Labels) -> tuple[Reply, int]:
        """The reply and the number of events taken: by the platform's rules, unless a fault answers first."""
        state = self._state
        call = replace(call, now=state.clock.read())
        partial = fault if fault is not None and fault.kind == "partial" and platform.per_event else None
        if fault is not None and partial is None:
            kind = _ERROR_FAULTS.get(fault.kind)
            if kind is not None:
                return _scripted(platform, kind, fault, call.trace), 0
        if partial is not None:
            call = replace(call, failing=failing_indexes(partial, labels()))
        reply, arrivals = platform.answer(call)
        state.take(platform.name, arrivals, call.now, call.trace)
        if partial is not None and partial.options.get("status") == 422 and reply.status == 200:
            reply = as_detailed_error(reply)
        return reply, len(arrivals)


class _Labels:
    """The labels of a batch, read when a script first asks for them."""

    def __init__(self, platform: Platform, payload: Any) -> None:
        self._platform = platform
        self._payload = payload
        self._found: list[Label] | None = None

    def __call__(self) -> list[Label]:
        if self._found is None:
            events = events_of(self._payload)
            self._found = [self._platform.label(event if type(event) is dict else {}) for event in events]
        return self._found


class Outlet:
    """The ways in which a request can end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._transport = (scope.get("extensions") or {}).get(TRANSPORT, {}).get("transport")

    async def reply(self, reply: Reply) -> None:
        """Send a JSON answer."""
        await self.send(reply.status, orjson.dumps(reply.body), "application/json", reply.headers)

    async def send(self, status: int, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        await self._start(status, len(body), media_type, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def half(self, reply: Reply) -> None:
        """Send the head and half of the body, then close the connection."""
        body = orjson.dumps(reply.body)
        await self._start(reply.status, len(body), "application/json", reply.headers)
        await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        if self._transport is None:
            raise ConnectionDropped("the answer was cut")
        self._transport.close()
        await self.gone()

    async def drop(self, *, reset: bool = False) -> None:
        """Close the connection without a byte of answer; `reset` makes the client see a TCP reset."""
        if self._transport is None:
            raise ConnectionDropped("the connection was dropped")
        if reset:
            _linger_none(self._transport.get_extra_info("socket"))
        self._transport.abort()
        await self.gone()

    async def hang(self, max_s: float) -> None:
        """Say nothing until the client leaves or `max_s` have passed."""
        if not await self.linger(max_s):
            await self.drop()

    async def linger(self, max_s: float) -> bool:
        """Whether the client left while nothing was said for `max_s`."""
        try:
            async with asyncio.timeout(max_s):
                await self.gone()
        except TimeoutError:
            return False
        return True

    async def gone(self) -> None:
        """Wait until the connection is closed."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, status: int, length: int, media_type: str, headers: Mapping[str, str]) -> None:
        pairs = [(b"content-type", media_type.encode()), (b"content-length", str(length).encode())]
        pairs += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})


def _linger_none(sock: Any) -> None:
    """Make the coming close a reset: nothing that is unsent lingers."""
    fd = os.dup(sock.fileno())  # the loop's own socket object allows no options; a duplicate is the same socket
    with socket.socket(fileno=fd) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _before(fault: Fault | None, outlet: Outlet) -> bool:
    """Whether the request reaches the platform, after the faults that come before it."""
    if fault is None:
        return True
    if fault.kind in ("reset", "down"):
        await outlet.drop(reset=fault.kind == "reset")
        return False
    if fault.kind == "hang" and not fault.options.get("process"):
        await outlet.hang(fault.options.get("max_s", MAX_HANG_S))
        return False
    if fault.kind == "slow":
        await outlet.linger(fault.options.get("delay_s", 1.0))
    return True


async def _after(fault: Fault | None, reply: Reply, outlet: Outlet) -> int | None:
    """The status that was sent, after the faults that spoil an answer; None when there was none."""
    kind = fault.kind if fault is not None else "ok"
    if fault is not None and kind == "hang":
        await outlet.hang(fault.options.get("max_s", MAX_HANG_S))
        return None
    if kind == "lost_answer":
        await outlet.drop()
        return None
    if kind == "half_body":
        await outlet.half(reply)
        return reply.status
    await outlet.reply(reply)
    return reply.status


def _scripted(platform: Platform, kind: ErrorKind, fault: Fault, trace: str) -> Reply:
    options = dict(fault.options)
    if fault.kind == "error_200":
        options.setdefault("status", 200)
    reply = platform.error(kind, trace, options)
    headers = {**reply.headers, **options.get("headers", {})}
    if "retry_after_s" in options:
        headers["retry-after"] = f"{options['retry_after_s']:g}"
    return replace(reply, headers=headers)


def _address(
    platforms: Sequence[Platform], scope: Scope, body: bytes | None, now: float, trace: str
) -> tuple[Platform | None, Call | None]:
    """The platform that a path belongs to, and the call when path and method are real."""
    path = scope["path"]
    for platform in platforms:
        match = platform.path.fullmatch(path)
        if match is None or scope["method"] != "POST":
            if platform.owns.fullmatch(path):
                return platform, None
            continue
        found = match.groupdict()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        payload = platform.decode(headers, body or b"")
        account = found.get("account") or ""
        if platform.account_of is not None:
            account = platform.account_of(payload)
        return platform, Call(account, found.get("mode") or "", query, headers, payload, now, trace)
    return None, None


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None when it is larger than the limit (the rest is read and thrown away)."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks) if size <= limit else None
