"""A stand-in for the four platforms that does nothing but say yes: `python -m bench.sink [ok|500|hang]`.

It prints its port, answers every POST as the platform of that path answers a success, and counts events; or it answers
each with a 500, or never. A process of
its own, so that its CPU is nobody's.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import orjson
import uvloop

MARK = b'"event_id":'
"""Stands once in every event of every platform, and inside no JSON string, as quotes are escaped there."""
_PINTEREST_VERDICT = b'{"status":"processed","error_message":"","warning_message":""}'


def platform_of(path: str) -> str:
    """Whose path it is."""
    if path.startswith("/open_api/"):
        return "tiktok"
    if "/ad_accounts/" in path:
        return "pinterest"
    return "snapchat" if path.startswith("/v3/") else "meta"


def success(platform: str, events: int) -> bytes:
    """The body with which `platform` takes `events` events."""
    if platform == "meta":
        return b'{"events_received":%d,"messages":[],"fbtrace_id":"AbCdEf0123456789"}' % events
    if platform == "tiktok":
        return b'{"code":0,"message":"OK","request_id":"2026112010150000000000000000000000","data":{}}'
    if platform == "pinterest":
        verdicts = b",".join([_PINTEREST_VERDICT] * events)
        return b'{"num_events_received":%d,"num_events_processed":%d,"events":[%s]}' % (events, events, verdicts)
    return b'{"status":"VALID","reason":"Events have been processed successfully."}'


class Sink(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after another."""

    def __init__(self, counts: dict[str, int], mode: str) -> None:
        self._counts = counts
        self._mode = mode
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).decode("latin-1")
            lines = head.split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:])
            stop = end + 4 + int(fields.get("content-length", "0"))
            if len(self._buffer) < stop:
                return
            body = bytes(self._buffer[end + 4 : stop])
            del self._buffer[:stop]
            method, path, _ = lines[0].split(" ")
            if method == "GET" or self._mode == "ok":
                self._transport.write(self._answer(method, path, body))
            elif self._mode == "500":
                self._transport.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")

    def _answer(self, method: str, path: str, body: bytes) -> bytes:
        if method == "GET":
            answer = orjson.dumps(self._counts)
        else:
            platform = platform_of(path)
            events = body.count(MARK)
            self._counts[platform] += events
            answer = success(platform, events)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        return head + answer


async def serve(mode: str) -> None:
    """Serve on a free port until killed."""
    counts = dict.fromkeys(("meta", "tiktok", "pinterest", "snapchat"), 0)
    server = await asyncio.get_running_loop().create_server(lambda: Sink(counts, mode), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1] if len(sys.argv) > 1 else "ok"))
