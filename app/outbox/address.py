"""Where a store is: its URL, taken apart without asking anybody."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SQLITE = "sqlite:///"
REDIS_SCHEMES = ("redis://", "rediss://", "redis+sentinel://", "redis+cluster://")
_MASK = "********"
_PORTS = {"redis+sentinel": 26379}


@dataclass(frozen=True, slots=True)
class Tls:
    """How the servers of a store are known, and how we are known to them. Without `ca` the system's own are used."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """The servers of a Redis store. `hosts` are all that a URL names; `tls` is None for plain text.

    `master` is what the Sentinels call the group; they have credentials of their own.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    master: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: Tls | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over several masters."""
        return self.scheme == "redis+cluster"

    @property
    def is_sentinel(self) -> bool:
        """Whether the hosts are Sentinels, which say where the master is."""
        return self.scheme == "redis+sentinel"


def parse_url(url: str) -> Address:
    """The parts of `redis://`, `rediss://`, `redis+sentinel://host:port,host:port/master` or `redis+cluster://` URLs.

    `?tls=true` asks for TLS where the scheme does not say. User, password and path are percent-decoded.

    Raises:
        ValueError: It is none of these. The words never quote a part of it: any may be a misplaced secret.
    """
    match = re.fullmatch(r"(?P<scheme>rediss?|redis\+sentinel|redis\+cluster)://(?P<rest>[^#]+)", url)
    if match is None:
        raise ValueError(f"must begin with one of {', '.join(REDIS_SCHEMES)}")
    parts = urlsplit("//" + match["rest"])
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    scheme = match["scheme"]
    named = tuple(_host(host, _PORTS.get(scheme, 6379)) for host in hosts.split(","))
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    master = path.pop(0) if scheme == "redis+sentinel" and path else None
    if scheme == "redis+sentinel" and master is None:
        raise ValueError("must name the master: redis+sentinel://host:port,host:port/master")
    if len(path) > 1 or (path and not re.fullmatch("[0-9]{1,4}", path[0])):
        raise ValueError("may end with the number of a database")
    database = int(path[0]) if path else 0
    if database and scheme == "redis+cluster":
        raise ValueError("may not name a database: a cluster has one, 0")
    if len(named) > 1 and scheme in {"redis", "rediss"}:
        raise ValueError("must name one host; several need redis+sentinel:// or redis+cluster://")
    return Address(
        scheme,
        named,
        master,
        unquote(username) or None,
        unquote(password) or None,
        database,
        Tls() if _asks_for_tls(scheme, parts.query) else None,
    )


def shown_url(url: str) -> str:
    """The URL with its password masked, fit for a log. An unreadable one is masked whole.

    A user without a password is masked as well: it is often the password, written without the colon before it.
    """
    if url.startswith(SQLITE):
        return url
    try:
        address = parse_url(url)
    except ValueError:
        return _MASK
    if address.username is None and address.password is None:
        return url
    head, _, tail = url.rpartition("@")
    scheme = head.partition("://")[0]
    if address.password is None:
        return f"{scheme}://{_MASK}@{tail}"
    return f"{scheme}://{quote(address.username or '', safe='')}:{_MASK}@{tail}"


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL, relative to the working directory unless absolute.

    Raises:
        ValueError: It is none.
    """
    if re.fullmatch(r"sqlite:///[^?#]*[^?#/]", url) is None:
        raise ValueError("must be sqlite:////absolute/path.db or sqlite:///./relative/path.db")
    return Path(url.removeprefix(SQLITE))


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?P<host>\[[^\]]+\]|[^:\[\]\s]+)(:(?P<port>\d{1,5}))?", text)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise ValueError(
            "must name a host, as host or host:port; in a user or password, percent-encode : / ? # @ and % "
            "or use store.username and store.password"
        )
    return match["host"].strip("[]"), int(match["port"] or default_port)


def _asks_for_tls(scheme: str, query: str) -> bool:
    options = dict(parse_qsl(query, keep_blank_values=True))
    tls = options.pop("tls", str(scheme == "rediss").lower())
    if options or tls not in {"true", "false"} or (scheme == "rediss" and tls == "false"):
        raise ValueError("may have one option, tls=true")
    return tls == "true"
