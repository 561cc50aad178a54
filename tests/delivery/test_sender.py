"""Sending: whatever HTTP does, a value comes back, and it says whether the platform may have the request."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import respx

from app.delivery.sender import MAX_REPLY_BYTES, Progress, Sender
from app.errors import REASONS, Outcome, Reason
from app.logs import JsonFormatter
from app.model import HttpCall, HttpReply, NoReply

pytestmark = pytest.mark.anyio

URL = "https://platform.example/v1/events"
TOKEN = "zq7x-token"
CALL = HttpCall(
    url=URL,
    body=b'{"data":[]}',
    deliveries=(),
    headers={"x-own": "1"},
    secret_headers={"authorization": f"Bearer {TOKEN}"},
    secret_params={"access_token": TOKEN},
)


@pytest.fixture
def platform() -> Iterator[respx.MockRouter]:
    """The platform: nobody else can be reached."""
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender()
    yield made
    await made.close()


async def left(request: httpx.Request) -> None:
    """Tell what the transport tells once the body goes out."""
    await request.extensions["trace"]("http11.send_request_headers.started", {})
    await request.extensions["trace"]("http11.send_request_body.started", {})


FAILURES = [
    # failure, reason, whether it is ambiguous before the body left, and after
    (httpx.ConnectTimeout, Reason.TIMEOUT, False, False),
    (httpx.PoolTimeout, Reason.TIMEOUT, False, False),
    (httpx.ReadTimeout, Reason.TIMEOUT, False, True),
    (httpx.WriteTimeout, Reason.TIMEOUT, False, True),
    (httpx.ConnectError, Reason.NETWORK, False, False),
    (httpx.ProxyError, Reason.NETWORK, False, False),
    (httpx.UnsupportedProtocol, Reason.NETWORK, False, False),
    (httpx.ReadError, Reason.NETWORK, False, True),
    (httpx.WriteError, Reason.NETWORK, False, True),
    (httpx.CloseError, Reason.NETWORK, False, True),
    (httpx.RemoteProtocolError, Reason.NETWORK, False, True),
    (httpx.LocalProtocolError, Reason.NETWORK, False, True),
    (httpx.DecodingError, Reason.NETWORK, False, True),
    (httpx.TooManyRedirects, Reason.NETWORK, False, True),
]


def descendants(kind: type[Exception]) -> set[type[Exception]]:
    """A class and all below it."""
    return {kind}.union(*(descendants(each) for each in kind.__subclasses__()))


def test_every_way_a_request_can_fail_is_in_the_table() -> None:
    leaves = {kind for kind in descendants(httpx.RequestError) if not kind.__subclasses__()}
    assert leaves == {failure for failure, *_ in FAILURES}


@pytest.mark.parametrize(("failure", "reason", "early", "late"), FAILURES)
@pytest.mark.parametrize("has_left", [False, True])
async def test_a_failure_is_a_value(
    sender: Sender,
    platform: respx.MockRouter,
    failure: type[httpx.RequestError],
    reason: Reason,
    early: bool,
    late: bool,
    has_left: bool,
) -> None:
    async def fail(request: httpx.Request) -> httpx.Response:
        if has_left:
            await left(request)
        raise failure(f"while asking {request.url}", request=request)

    platform.post(URL).mock(side_effect=fail)
    progress = Progress()
    reply = await sender.send(CALL, 1, progress)
    assert isinstance(reply, NoReply)
    assert (reply.reason, reply.is_ambiguous) == (reason, late if has_left else early)
    assert reply.reason in REASONS[Outcome.RETRYING]
    assert progress.has_left == has_left
    assert reply.detail
    assert TOKEN not in repr(reply)


@pytest.mark.parametrize("failure", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_an_answer_that_breaks_off_is_ambiguous(
    sender: Sender, platform: respx.MockRouter, failure: type[httpx.RequestError]
) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield b'{"events_received"'
        raise failure("broke off")

    async def answer(request: httpx.Request) -> httpx.Response:
        await left(request)
        return httpx.Response(200, stream=Stream(dripping))

    platform.post(URL).mock(side_effect=answer)
    reply = await sender.send(CALL, 1, Progress())
    assert isinstance(reply, NoReply)
    assert reply.is_ambiguous


class Stream(httpx.AsyncByteStream):
    """A body that comes in pieces, and tells when it is closed."""

    def __init__(self, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        self._pieces = pieces
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def aclose(self) -> None:
        self.closed = True


async def test_an_answer_that_cannot_be_unpacked_is_ambiguous(sender: Sender, platform: respx.MockRouter) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await left(request)
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    platform.post(URL).mock(side_effect=answer)
    reply = await sender.send(CALL, 1, Progress())
    assert isinstance(reply, NoReply)
    assert (reply.reason, reply.is_ambiguous) == (Reason.NETWORK, True)


@pytest.mark.parametrize("status", [200, 207, 301, 302, 307, 400, 401, 413, 429, 500, 503, 599])
async def test_any_status_is_an_answer_and_no_redirect_is_followed(
    sender: Sender, platform: respx.MockRouter, status: int
) -> None:
    route = platform.post(URL).respond(
        status, headers={"Location": "https://elsewhere.example/", "Retry-After": "7"}, content=b"<html>"
    )
    elsewhere = platform.route(host="elsewhere.example")
    reply = await sender.send(CALL, 1, Progress())
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (status, b"<html>")
    assert reply.headers["retry-after"] == "7"
    assert set(reply.headers) == {name.lower() for name in reply.headers}
    assert (route.call_count, elsewhere.call_count) == (1, 0)


async def test_what_is_sent(sender: Sender, platform: respx.MockRouter) -> None:
    route = platform.post(URL).respond(200)
    await sender.send(CALL, 1, Progress())
    request = route.calls.last.request
    assert request.content == CALL.body
    assert request.url.params["access_token"] == TOKEN
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-own"] == "1"
    assert set(request.extensions["timeout"].values()) == {1}


async def test_parameters_of_the_address_and_secret_ones_go_together(
    sender: Sender, platform: respx.MockRouter
) -> None:
    route = platform.post(url__startswith=URL).respond(200)
    call = HttpCall(url=f"{URL}?test=true", body=b"{}", deliveries=(), secret_params={"access_token": TOKEN})
    await sender.send(call, 1, Progress())
    assert dict(route.calls.last.request.url.params) == {"test": "true", "access_token": TOKEN}
    plain = HttpCall(url=f"{URL}?test=true", body=b"{}", deliveries=())
    await sender.send(plain, 1, Progress())
    assert dict(route.calls.last.request.url.params) == {"test": "true"}


async def test_a_compressed_answer_is_unpacked(sender: Sender, platform: respx.MockRouter) -> None:
    body = json.dumps({"ok": True}).encode()
    platform.post(URL).respond(200, headers={"content-encoding": "gzip"}, content=gzip.compress(body))
    reply = await sender.send(CALL, 1, Progress())
    assert isinstance(reply, HttpReply)
    assert reply.body == body


@pytest.mark.parametrize(("size", "is_taken"), [(MAX_REPLY_BYTES, True), (MAX_REPLY_BYTES + 1, False)])
async def test_an_answer_has_a_largest_size(
    sender: Sender, platform: respx.MockRouter, size: int, is_taken: bool
) -> None:
    given = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal given
        while given < size:
            piece = b" " * min(1 << 20, size - given)
            given += len(piece)
            yield piece
        while not is_taken and given < 4 * size:
            given += 1 << 20
            yield b" " * (1 << 20)

    stream = Stream(pieces)
    platform.post(URL).mock(side_effect=lambda request: httpx.Response(200, stream=stream))
    reply = await sender.send(CALL, 1, Progress())
    assert isinstance(reply, HttpReply) == is_taken
    if isinstance(reply, NoReply):
        assert (reply.reason, reply.is_ambiguous) == (Reason.PLATFORM_ERROR, True)
        assert given <= size + (1 << 20)
    assert stream.closed


async def test_a_cancelled_send_passes_on_and_tells_how_far_it_came(sender: Sender, platform: respx.MockRouter) -> None:
    reached = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        await left(request)
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    platform.post(URL).mock(side_effect=hang)
    progress = Progress()
    sending = asyncio.create_task(sender.send(CALL, 5, progress))
    await reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert progress.has_left


@pytest.mark.parametrize("event", ["connection.connect_tcp.started", "http11.send_request_headers.complete", "x"])
async def test_only_the_body_counts_as_left(event: str) -> None:
    progress = Progress()
    await progress.trace(event, {})
    assert not progress.has_left
    await progress.trace("http2.send_request_body.started", {})
    assert progress.has_left


async def test_secrets_are_in_no_repr_and_no_log_line(
    sender: Sender, platform: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="convey")
    caplog.set_level(logging.WARNING, logger="httpx")
    for outcome in (httpx.Response(401, json={"token": "dead"}), httpx.ReadError(f"{URL}?access_token={TOKEN}")):
        platform.post(URL).mock(side_effect=[outcome])
        reply = await sender.send(CALL, 1, Progress())
        assert TOKEN not in repr(reply)
    assert TOKEN not in repr(CALL)
    formatter = JsonFormatter()
    assert all(TOKEN not in formatter.format(record) for record in caplog.records)


@pytest.mark.parametrize(
    "call",
    [
        HttpCall(url="https://platform.example:port/", body=b"", deliveries=()),
        HttpCall(url="https://[::1/", body=b"", deliveries=()),
        HttpCall(url=URL, body=b"", deliveries=(), secret_headers={"authorization": "Bearer zq7x\n"}),
        HttpCall(url=URL, body=b"", deliveries=(), secret_headers={"authorization": "Bearer \u00fc"}),
    ],
    ids=["port", "host", "line end", "no ASCII"],
)
async def test_a_call_that_is_none_is_a_value_as_well(call: HttpCall) -> None:
    sender = Sender()
    try:
        reply = await sender.send(call, 1, Progress())
    finally:
        await sender.close()
    assert isinstance(reply, NoReply)
    assert not reply.is_ambiguous
    assert "zq7x" not in repr(reply)


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request(
    sender: Sender, platform: respx.MockRouter
) -> None:
    route = platform.post(URL).respond(200, headers={"Set-Cookie": "session=zq7x; Path=/"})
    await sender.send(CALL, 1, Progress())
    await sender.send(CALL, 1, Progress())
    assert "cookie" not in route.calls.last.request.headers


async def test_a_transport_of_ones_own() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"body": json.loads(request.content)})

    sender = Sender(httpx.MockTransport(answer))
    reply: Any = await sender.send(CALL, 1, Progress())
    assert json.loads(reply.body) == {"body": {"data": []}}
    await sender.close()


class RawServer:
    """A server on a socket that does what it is told with a connection."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> None:
        self._serve = serve
        self.url = ""

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


async def test_a_connection_closed_after_the_request_is_ambiguous(sender: Sender) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.close()

    async with RawServer(serve) as server:
        reply = await sender.send(HttpCall(url=server.url, body=b"{}", deliveries=()), 5, Progress())
    assert isinstance(reply, NoReply)
    assert (reply.reason, reply.is_ambiguous) == (Reason.NETWORK, True)


async def test_a_platform_that_hangs_leaves_the_others_their_connections(sender: Sender) -> None:
    """As many requests hang as one destination may have under way (`max_in_flight`)."""
    under_way, answered = 0, asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        await answered.wait()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with RawServer(hang) as hanging, RawServer(serve) as server:
        call = HttpCall(url=hanging.url, body=b"{}", deliveries=())
        others = [asyncio.create_task(sender.send(call, 60, Progress())) for _ in range(256)]
        while under_way < 200:
            await asyncio.sleep(0)
        reply = await sender.send(HttpCall(url=server.url, body=b"{}", deliveries=()), 10, Progress())
        answered.set()
        await asyncio.gather(*others)
    assert isinstance(reply, HttpReply)


async def test_no_connection_is_not_ambiguous(sender: Sender) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with RawServer(serve) as server:
        url = server.url
    progress = Progress()
    reply = await sender.send(HttpCall(url=url, body=b"{}", deliveries=()), 5, progress)
    assert isinstance(reply, NoReply)
    assert (reply.reason, reply.is_ambiguous, progress.has_left) == (Reason.NETWORK, False, False)
