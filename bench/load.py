"""The backend that posts: `python -m bench.load --help`.

A process of its own: it prints `ready`, waits for a line, and posts. Requests are made beforehand and answers hardly
looked at, so that the server and not this is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import cast

import orjson
import uvloop

from bench.orders import order


class Client(asyncio.Protocol):
    """One keep-alive connection: posts the next request once the answer to the last is whole."""

    def __init__(self, requests: deque[bytes], seconds: list[float], faults: list[bytes]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._faults = faults
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()
        self.idle: asyncio.Queue[Client] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        """Post the first request."""
        self._next()

    def post(self, request: bytes, due: float) -> None:
        """Post one request that was due at `due`, from when its time counts; `idle` is told once it is answered."""
        assert self._transport is not None
        self._sent = due
        self._transport.write(request)

    def _next(self) -> None:
        assert self._transport is not None
        if not self._requests:
            self._transport.close()
            return
        self._sent = perf_counter()
        self._transport.write(self._requests.popleft())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        _, found, rest = head.partition(b"content-length: ")
        if len(self._buffer) < end + 4 + (int(rest.split(b"\r\n", 1)[0]) if found else 0):
            return
        self._seconds.append(perf_counter() - self._sent)
        body = self._buffer[end + 4 :]
        if not head.startswith(b"http/1.1 202") or b'"status":"invalid"' in body:
            self._faults.append(self._buffer[:2000])
        self._buffer = b""
        if self.idle is None:
            self._next()
        else:
            self.idle.put_nowait(self)

    def close(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(None)


def requests_of(key: str, first: int, events: int, batch: int) -> list[bytes]:
    """The requests that post `events` orders, `batch` in each."""
    now = datetime.now(UTC)
    made = []
    for start in range(first, first + events, batch):
        orders = [order(number, now) for number in range(start, min(start + batch, first + events))]
        body = orjson.dumps(orders[0] if batch == 1 else {"events": orders})
        head = (
            "POST /v1/events HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def at_rate(clients: Sequence[Client], requests: Sequence[bytes], rate: float) -> None:
    """Post `rate` requests a second, whatever the answers take: one that has to wait for its turn has begun."""
    idle: asyncio.Queue[Client] = asyncio.Queue()
    for client in clients:
        client.idle = idle
        idle.put_nowait(client)
    began = perf_counter()
    for number, request in enumerate(requests):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        (await idle.get()).post(request, due)
    for _ in clients:
        (await idle.get()).close()


async def post(port: int, connections: int, requests: Sequence[bytes], rate: float) -> dict[str, object]:
    """Post all of `requests` over `connections` connections; how long it took, as a whole and each.

    `rate` is how many to post a second; 0 posts the next as soon as the last is answered.
    """
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    faults: list[bytes] = []
    waiting = deque(requests)
    clients = [
        (await loop.create_connection(lambda: Client(waiting, seconds, faults), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    began = perf_counter()
    if rate:
        await at_rate(clients, requests, rate)
    else:
        for client in clients:
            client.start()
    await asyncio.gather(*(client.done for client in clients))
    elapsed = perf_counter() - began
    seconds.sort()
    return {
        "requests": len(seconds),
        "faults": len(faults),
        "fault": faults[0].decode("utf-8", "replace") if faults else None,
        "seconds": elapsed,
        "p50_ms": seconds[len(seconds) // 2] * 1000,
        "p99_ms": seconds[len(seconds) * 99 // 100] * 1000,
    }


def main() -> None:
    """Post orders as told, and print one JSON line about it."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--first", type=int, default=1, help="number of the first order")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1, help="events in one request")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=int, default=0, help="requests a second; as fast as they are answered if 0")
    options = parser.parse_args()
    requests = requests_of(options.key, options.first, options.events, options.batch)
    print("ready", flush=True)
    sys.stdin.readline()
    result = uvloop.run(post(options.port, options.connections, requests, options.rate))
    print(orjson.dumps(result).decode(), flush=True)


if __name__ == "__main__":
    main()
