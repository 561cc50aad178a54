"""The way out, for real: a CONNECT proxy that asks for a password, and a platform whose authority nobody knows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.config.outbound import OutboundConfig
from app.delivery.outbound import Outbound
from app.delivery.sender import Progress, Sender
from app.errors import Reason
from app.model import HttpCall, HttpReply, NoReply

pytestmark = pytest.mark.anyio

HOST = "platform.example"
CALL = HttpCall(url=f"https://{HOST}/v1/events", body=b"{}", deliveries=())
WORD = base64.b64encode(b"convey:s3cret").decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and a certificate of HOST signed by it."""
    folder = tmp_path_factory.mktemp("authority")
    now = datetime.now(UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
        made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signed = certificate("Private CA", root, "Private CA")
    signed = signed.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (folder / "ca.pem").write_bytes(signed.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    own = certificate(HOST, leaf, "Private CA")
    own = own.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    (folder / "platform.pem").write_bytes(own.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "platform.key").write_bytes(
        leaf.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@contextlib.asynccontextmanager
async def proxy_and_platform(authority: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The proxy's address, and the heads of what it was asked."""
    asked: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority / "platform.pem", authority / "platform.key")

    async def end(writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await end(writer)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        if f"Basic {WORD}".encode() not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            await end(writer)
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", platform_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while chunk := await source.read(65536):
                    target.write(chunk)
            await end(target)

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(connect(reader, writer)))

    platform = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    platform_port = platform.sockets[0].getsockname()[1]
    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", asked
    finally:
        if serving:  # nothing may be left open
            await asyncio.wait(serving, timeout=10)
        proxy.close()
        platform.close()


async def send(outbound: Outbound) -> HttpReply | NoReply:
    sender = Sender(outbound=outbound)
    try:
        return await sender.send(CALL, 10, Progress())
    finally:
        await sender.close()


async def test_a_request_leaves_by_the_proxy_and_believes_the_private_authority(authority: Path) -> None:
    async with proxy_and_platform(authority) as (proxy, asked):
        reply = await send(Outbound(f"http://convey:s3cret@{proxy}", authority / "ca.pem"))
    assert isinstance(reply, HttpReply), reply
    assert reply.body == b"{}"
    (head,) = asked
    assert head.startswith(f"CONNECT {HOST}:443 ".encode())  # the proxy resolves the name


async def test_an_unknown_authority_and_a_proxy_that_refuses_are_no_connection(authority: Path) -> None:
    async with proxy_and_platform(authority) as (proxy, _):
        unknown = await send(Outbound(f"http://convey:s3cret@{proxy}"))
        refused = await send(Outbound(f"http://{proxy}", authority / "ca.pem"))
    for reply in (unknown, refused):
        assert isinstance(reply, NoReply)
        assert (reply.reason, reply.is_ambiguous) == (Reason.NETWORK, False)


def test_the_password_is_in_no_words(authority: Path) -> None:
    config = OutboundConfig(proxy="http://convey:s3cret@proxy:3128", ca_file=authority / "ca.pem")
    assert "s3cret" not in f"{config!r} {config.outbound()!r}"


@pytest.mark.parametrize(
    "proxy", ["proxy:3128", "socks5://proxy:1080", "https://:3128", "http://proxy:3128/path", "http://p?q=1"]
)
def test_what_is_no_proxy_is_refused_without_its_value(proxy: str) -> None:
    with pytest.raises(ValueError, match="must be http://host:port") as refused:
        OutboundConfig(proxy=proxy)
    assert proxy not in str(refused.value)


def test_what_holds_no_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("empty.pem", "missing.pem"):
        with pytest.raises(ValueError, match="names no PEM file"):
            OutboundConfig(ca_file=tmp_path / file)
