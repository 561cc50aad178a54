"""Getting at a Redis store: by TLS with an authority of one's own, and as a user who may do no more than it takes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from app.config import StoreConfig
from app.errors import Outcome, StoreMismatch, StoreUnavailable
from app.model import Settlement
from app.stores import opened
from tests.factories import plan
from tests.redis_server import RedisServer, free_port

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[2] / "docs" / "redis.md"
AT_ONCE = timedelta(0)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that is not started yet."""
    server = RedisServer()
    yield server
    server.close()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def go_through(config: StoreConfig) -> None:
    """Everything a gateway does with its store."""
    async with opened(config, ["meta"], None) as store:
        await store.probe()
        await store.accept([plan("ORD-1", ("meta",))])
        (delivery,) = await store.claim("meta", 10, timedelta(seconds=20))
        assert await store.settle([Settlement(delivery, Outcome.DELIVERED)]) == 1
        assert len(await store.event("purchase_ORD-1")) == 1
        assert (await store.ledger())["meta"].is_closed
        await store.keep_secret("x", lambda: b"y")
        await store.notes()
        await store.backlog()
        await store.sweep()


async def test_tls_with_an_authority_of_ones_own(own: RedisServer, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    own.settings |= {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(certificate),
    }
    own.start()
    url = f"rediss://127.0.0.1:{port}/0"
    await go_through(StoreConfig(url=url, tls_ca=certificate, tls_cert=certificate, tls_key=key))
    with pytest.raises(StoreUnavailable):  # the server asks for a certificate
        await go_through(StoreConfig(url=url, tls_ca=certificate, start_within=AT_ONCE))
    with pytest.raises(StoreUnavailable):  # its authority is nobody's
        await go_through(StoreConfig(url=url, tls_cert=certificate, tls_key=key, start_within=AT_ONCE))


async def test_the_user_of_the_page_may_do_what_it_takes_and_no_more(own: RedisServer) -> None:
    own.start()
    rule = re.search(r"^ACL SETUSER (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rule is not None
    assert own.command("ACL", "SETUSER", *rule[1].replace("YOUR-PASSWORD", "s3cret").split()) == "+OK"
    config = StoreConfig(url=own.url, username="convey", password=SecretStr("s3cret"))
    await go_through(config)
    for command in ("-flushall", "-keys", "-shutdown"):
        assert own.command("ACL", "DRYRUN", "convey", command.removeprefix("-").upper(), "x").startswith("$")
    own.command("ACL", "SETUSER", "convey", "-info")
    with pytest.raises(StoreMismatch, match="does not let this user"):
        await go_through(config)
