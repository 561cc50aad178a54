"""Where accepted events are kept: which engine, what its 202 waits for, and the rules between these settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from app.config.base import Section
from app.config.encryption import EncryptionConfig
from app.errors import Fault
from app.outbox.address import REDIS_SCHEMES, Address, Tls, parse_url, sqlite_path
from app.units import Duration, Size

Durability = Literal["fsync", "replicated", "declared", "memory"]


class StoreConfig(Section):
    """Where accepted events are kept, and what "kept" means: see [redis.md](redis.md) for stores on Redis."""

    url: str = Field(
        "sqlite:///./data/convey.db",
        repr=False,
        description="`sqlite:////abs/path.db`, `sqlite:///./relative.db`, `redis://host:6379/0`, `rediss://…` (TLS), "
        "`redis+sentinel://host:26379,host:26379/master/0` or `redis+cluster://host:6379,host:6379`; "
        "`?tls=true` for TLS with the last two. A password in it is never shown.",
    )
    username: str | None = Field(
        None, min_length=1, max_length=200, description="User at the Redis server; instead of one in the URL."
    )
    password: SecretStr | None = Field(
        None, min_length=1, description="Password at the Redis server, as it is; instead of one in the URL."
    )
    sentinel_username: str | None = Field(
        None, min_length=1, max_length=200, description="User at the Sentinels, which have accounts of their own."
    )
    sentinel_password: SecretStr | None = Field(None, min_length=1, description="Password at the Sentinels.")
    tls_ca: Path | None = Field(None, description="File of the authorities to trust; the system's own if absent.")
    tls_cert: Path | None = Field(None, description="File of the certificate to present, where the server asks.")
    tls_key: Path | None = Field(None, description="File of that certificate's key.")
    durability: Durability = Field(
        "fsync",
        validate_default=True,
        description="What an answer of 202 waits for. `fsync`: the disk. `replicated`: `replicas` copies (Redis). "
        "`declared`: what `promise` says of a managed Redis. `memory`: nothing; a crash may lose accepted events.",
    )
    replicas: int = Field(
        1, ge=1, le=10, description="How many replicas have an event before 202, where durability is `replicated`."
    )
    promise: str | None = Field(
        None,
        min_length=5,
        max_length=200,
        validate_default=True,
        description="What the operator of the service promises, in words; required where durability is `declared`.",
    )
    allow_weak: bool = Field(
        False, description="Whether a Redis server whose settings weaken the durability is used, with a warning."
    )
    partitions: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Parts a Redis store is made of, fixed when it is made: what it was made with, else 1, in a "
        "cluster 256.",
    )
    answer_within: Duration = Field(
        timedelta(seconds=5),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="How long a Redis server may take to answer, its disk and replicas included; beyond it 503.",
    )
    start_within: Duration = Field(
        timedelta(minutes=1),
        ge=timedelta(0),
        le=timedelta(minutes=30),
        description="How long a Redis store that does not answer yet is waited for at start.",
    )
    journal_retention: Duration = Field(
        timedelta(days=7),
        ge=timedelta(hours=1),
        le=timedelta(days=90),
        description="How long the fate of a settled event can be looked up.",
    )
    dead_letter_retention: Duration = Field(
        timedelta(days=30),
        ge=timedelta(hours=1),
        le=timedelta(days=400),
        description="How long a dead letter can be replayed; then it is purged, and the ledger still counts it.",
    )
    encryption: EncryptionConfig | None = Field(
        None, description="Keys to seal events and contexts with, at rest. Without it they are kept in clear (hashed)."
    )
    max_bytes: Size | None = Field(
        None, ge=1 << 20, description="Largest size of the store; beyond it new events get 503. No limit when absent."
    )
    max_waiting: int = Field(
        20_000_000,
        ge=1,
        le=10**12,
        description="Most deliveries that wait, over all destinations; beyond it new events get 503.",
    )

    @field_validator("url")
    @classmethod
    def _is_a_store(cls, url: str) -> str:
        if url.startswith(REDIS_SCHEMES):
            parse_url(url)
        elif url.startswith("sqlite:"):
            sqlite_path(url)
        else:
            raise ValueError(f"must begin with sqlite:/// or one of {', '.join(REDIS_SCHEMES)}")
        return url

    @field_validator(
        "username", "password", "tls_ca", "tls_cert", "tls_key", "replicas", "allow_weak", "partitions",
        "answer_within", "start_within",
    )  # fmt: skip
    @classmethod
    def _is_for_redis(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and _is(info, lambda url: not url.startswith(REDIS_SCHEMES)):
            raise ValueError("is for a Redis store; store.url names an SQLite file")
        return value

    @field_validator("username", "password")
    @classmethod
    def _stands_once(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        is_in_url = _is(info, lambda url: url.startswith(REDIS_SCHEMES) and getattr(parse_url(url), name) is not None)
        if value is not None and is_in_url:
            raise ValueError("stands in store.url as well: keep one of the two")
        return value

    @field_validator("sentinel_username", "sentinel_password")
    @classmethod
    def _is_for_sentinels(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and _is(info, lambda url: not url.startswith("redis+sentinel://")):
            raise ValueError("is for redis+sentinel:// URLs")
        return value

    @field_validator("tls_ca", "tls_cert", "tls_key")
    @classmethod
    def _is_for_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        if _is(info, lambda url: url.startswith(REDIS_SCHEMES) and parse_url(url).tls is None):
            raise ValueError("is for TLS: use rediss://, or add ?tls=true to store.url")
        if info.field_name == "tls_key" and "tls_cert" in info.data and info.data["tls_cert"] is None:
            raise ValueError("is the key of store.tls_cert, which is missing")
        if not value.is_file():
            raise ValueError("names no file that can be read")
        return value

    @field_validator("durability")
    @classmethod
    def _is_offered(cls, durability: str, info: ValidationInfo) -> str:
        if durability in {"replicated", "declared"} and _is(info, lambda url: url.startswith("sqlite:")):
            raise ValueError("SQLite offers fsync or memory only")
        return durability

    @field_validator("replicas")
    @classmethod
    def _is_for_replicated(cls, replicas: int, info: ValidationInfo) -> int:
        if info.data.get("durability", "replicated") != "replicated":
            raise ValueError("counts only where store.durability is replicated")
        return replicas

    @field_validator("promise")
    @classmethod
    def _is_promised(cls, promise: str | None, info: ValidationInfo) -> str | None:
        durability = info.data.get("durability")
        if durability == "declared" and promise is None:
            raise ValueError("is required where store.durability is declared: say what the service promises")
        if durability not in {"declared", None} and promise is not None:
            raise ValueError("says something only where store.durability is declared")
        return promise

    @field_validator("max_bytes")
    @classmethod
    def _is_for_sqlite(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and _is(info, lambda url: url.startswith(REDIS_SCHEMES)):
            raise ValueError("is for SQLite: bound a Redis store by the server's maxmemory")
        return value

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is allowed but weakens the promise that accepted means kept."""
        found = []
        if self.durability == "memory":
            words = "memory answers 202 before a disk has the event: a power cut may lose accepted events"
            found.append(Fault("store.durability", "weak_durability", words))
        if self.durability == "declared":
            words = "nothing is checked: accepted means kept as far as the service keeps what store.promise says"
            found.append(Fault("store.durability", "declared_durability", words))
        if self.allow_weak:
            words = "a server whose settings may lose accepted events is used all the same"
            found.append(Fault("store.allow_weak", "weak_durability", words))
        return tuple(found)

    @property
    def is_shared(self) -> bool:
        """Whether several processes may use the store at once."""
        return self.url.startswith(REDIS_SCHEMES)

    @property
    def path(self) -> Path:
        """The SQLite file, relative to the working directory unless absolute."""
        return sqlite_path(self.url)

    @property
    def address(self) -> Address:
        """The servers of a Redis store, with every secret in place."""
        found = parse_url(self.url)
        return replace(
            found,
            username=self.username or found.username,
            password=_plain(self.password) or found.password,
            tls=found.tls and Tls(self.tls_ca, self.tls_cert, self.tls_key),
            sentinel_username=self.sentinel_username,
            sentinel_password=_plain(self.sentinel_password),
        )


def _is(info: ValidationInfo, so: Callable[[str], bool]) -> bool:
    """Whether `so` is true of the URL; not where the URL itself is at fault."""
    url = info.data.get("url")
    return url is not None and so(url)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
