"""The service behind a real socket: what only a connection shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import run
from tests.api.support import KEY, good, settings_for, unused_url

pytestmark = pytest.mark.anyio

MIB = 1 << 20
HEAD = (
    "POST /v1/events HTTP/1.1\r\nHost: convey.test\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {KEY}\r\n"
)


@dataclass(frozen=True)
class Ports:
    """Where a gateway listens."""

    api: int
    metrics: int


@contextlib.asynccontextmanager
async def serving(folder: Path, **server: Any) -> AsyncIterator[Ports]:
    """A gateway in full, until the block ends; it must end in good order."""
    stop = asyncio.Event()
    started: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
    settings = settings_for(folder, unused_url(), server)
    task = asyncio.create_task(run(settings, stop, lambda api, metrics: started.set_result(Ports(api, metrics))))
    ends: set[asyncio.Future[Any]] = {task, started}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield started.result()
    finally:
        stop.set()
        await task


@pytest.fixture(scope="module")
async def ports(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ports]:
    """A gateway for all tests of this file."""
    async with serving(tmp_path_factory.mktemp("served")) as opened:
        yield opened


class Connection:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.reading = asyncio.create_task(self._read(reader))
        self.sent = 0

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        got = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                got += data
        return bytes(got)

    async def send(self, data: bytes) -> bool:
        """Whether the gateway still listens after `data`."""
        if self.reading.done():
            return False
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            return False
        self.sent += len(data)
        return not self.reading.done()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of the one answer, once the gateway has closed the connection."""
        got = await self.reading
        head, _, body = got.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, json.loads(body)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection, closed afterwards."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = Connection(reader, writer)
    try:
        yield connection
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await connection.reading


def assert_too_large(status: int, headers: dict[str, str], told: Any) -> None:
    """Assert that the body was refused for its size and the connection given up."""
    assert status == 413
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/problem+json"
    assert told["type"] == "urn:convey:problem:body_too_large"
    assert told["instance"] == headers["x-request-id"]


async def test_nine_mebibytes_are_refused_before_any_is_read(ports: Ports) -> None:
    async with connected(ports.api) as connection:
        await connection.send(f"{HEAD}Content-Length: {9 * MIB}\r\n\r\n".encode())
        assert_too_large(*await connection.answer())


async def test_a_caller_that_asks_first_is_not_told_to_go_on(ports: Ports) -> None:
    async with connected(ports.api) as connection:
        await connection.send(f"{HEAD}Expect: 100-continue\r\nContent-Length: {9 * MIB}\r\n\r\n".encode())
        assert_too_large(*await connection.answer())


async def test_a_body_without_a_length_is_refused_while_it_comes(ports: Ports) -> None:
    chunk = f"{64 * 1024:x}\r\n".encode() + b" " * 64 * 1024 + b"\r\n"
    async with connected(ports.api) as connection:
        await connection.send(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        while connection.sent < 64 * MIB and await connection.send(chunk):
            pass
        assert connection.sent < 32 * MIB
        assert_too_large(*await connection.answer())


async def test_a_length_and_chunks_at_once_are_refused(ports: Ports) -> None:
    async with connected(ports.api) as connection:
        await connection.send(f"{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        got = await connection.reading
        assert got.split(b" ", 2)[1] == b"400"


async def test_a_connection_is_kept_for_the_next_request(ports: Ports) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api}") as client:
        client.headers["authorization"] = f"Bearer {KEY}"
        answers = [await client.post("/v1/events", json=good(number)) for number in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        streams = {id(answer.extensions["network_stream"]) for answer in answers}
        assert len(streams) == 1
        assert "server" not in answers[0].headers
        refused = await client.post("/v1/events", content=b"[")
        assert refused.status_code == 400
        assert id(refused.extensions["network_stream"]) in streams


async def test_metrics_are_on_their_own_port_only(ports: Ports) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{ports.api}/metrics")).status_code == 404
        scraped = await client.get(f"http://127.0.0.1:{ports.metrics}/metrics")
        assert scraped.status_code == 200
        assert "convey_build_info" in scraped.text
        assert (await client.get(f"http://127.0.0.1:{ports.metrics}/livez")).status_code == 404


def test_a_port_that_is_taken_is_told_in_words(tmp_path: Path) -> None:
    """In a process of its own, as it must end with a message and not by taking its caller down."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings_for(tmp_path, unused_url(), {"port": taken.getsockname()[1]})
        ended = subprocess.run(
            [sys.executable, "-m", "app", "serve", "--config", str(tmp_path / "convey.yaml")],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert ended.returncode not in {0, None}
    assert "cannot listen on 127.0.0.1" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_gateway_that_stopped_can_be_started_on_the_same_store(tmp_path: Path) -> None:
    for expected in ("accepted", "duplicate"):
        async with serving(tmp_path) as opened, httpx.AsyncClient() as client:
            answer = await client.post(
                f"http://127.0.0.1:{opened.api}/v1/events",
                json=good(event_time="2026-11-20T10:15:00Z"),
                headers={"authorization": f"Bearer {KEY}"},
            )
            assert answer.json()["results"][0]["status"] == expected
