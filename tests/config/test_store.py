"""Where a store is and what its 202 waits for: every URL, every rule between the settings, no password shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from app.config import Role, check_role
from app.config.encryption import bytes_of
from app.errors import ConfigError
from app.outbox.address import parse_url, shown_url
from tests.config.support import SECRET, good

REDIS = "redis://cache:6379/0"


def tree(**store: Any) -> dict[str, Any]:
    return good() | {"store": {"url": REDIS, **store}}


@pytest.mark.parametrize(
    ("store", "pointer", "words"),
    [
        ({"url": "postgres://x"}, "store.url", "must begin with sqlite:/// or one of redis://"),
        ({"url": f"redis://:{SECRET}/x@cache"}, "store.url", "percent-encode"),
        ({"url": f"redis://:{SECRET}#1@cache"}, "store.url", "must begin with"),
        ({"url": "redis://a,b"}, "store.url", "one host"),
        ({"url": "redis://cache:70000"}, "store.url", "host:port"),
        ({"url": "redis://cache?ssl=yes"}, "store.url", "tls=true"),
        ({"url": "rediss://cache?tls=false"}, "store.url", "tls=true"),
        ({"url": "redis+cluster://cache/3"}, "store.url", "database"),
        ({"url": "redis+sentinel://a,b"}, "store.url", "must name the master"),
        ({"url": "sqlite:///x.db", "durability": "replicated"}, "store.durability", "fsync or memory"),
        ({"url": "sqlite:///x.db", "durability": "declared", "promise": "at least that"}, "store.durability", "fsync"),
        ({"url": "sqlite:///x.db", "password": SECRET}, "store.password", "is for a Redis store"),
        ({"url": "sqlite:///x.db", "partitions": 8}, "store.partitions", "is for a Redis store"),
        ({"url": "sqlite:///x.db", "allow_weak": True}, "store.allow_weak", "is for a Redis store"),
        ({"url": f"redis://:{SECRET}@cache", "password": SECRET}, "store.password", "keep one of the two"),
        ({"sentinel_password": SECRET}, "store.sentinel_password", "redis+sentinel"),
        ({"tls_ca": "ca.pem"}, "store.tls_ca", "?tls=true"),
        ({"url": "rediss://cache", "tls_ca": "/nowhere/ca.pem"}, "store.tls_ca", "no file"),
        ({"url": "rediss://cache", "tls_key": "/nowhere/key.pem"}, "store.tls_key", "store.tls_cert"),
        ({"replicas": 2}, "store.replicas", "only where store.durability is replicated"),
        ({"durability": "replicated", "replicas": 0}, "store.replicas", "at least 1"),
        ({"durability": "declared"}, "store.promise", "is required"),
        ({"promise": "every second"}, "store.promise", "only where store.durability is declared"),
        ({"partitions": 5000}, "store.partitions", "at most 4096"),
        ({"answer_within": "1ms"}, "store.answer_within", "at least"),
        ({"max_bytes": "1GiB"}, "store.max_bytes", "maxmemory"),
        ({"encryption": {}}, "store.encryption.keys", "is required"),
        ({"encryption": {"keys": []}}, "store.encryption.keys", "at least one"),
        ({"encryption": {"keys": [{"id": "a", "key": SECRET}]}}, "store.encryption.keys[0].key", "neither base64 nor"),
        ({"encryption": {"keys": [{"id": "a", "key": "c2hvcnQ="}]}}, "store.encryption.keys[0].key", "32 bytes, is 5"),
        ({"encryption": {"keys": [{"id": "a", "key": "0" * 64}]}}, "store.encryption.keys[0].key", "is all zeros"),
        ({"encryption": {"keys": [{"id": "a", "key": "A" * 43}]}}, "store.encryption.keys[0].key", "is all zeros"),
        ({"encryption": {"keys": [{"id": "A b", "key": "a" * 64}]}}, "store.encryption.keys[0].id", "match"),
        (
            {"encryption": {"keys": [{"id": "a", "key": "a" * 64}, {"id": "a", "key": "b" * 64}]}},
            "store.encryption.keys",
            "two keys have one id",
        ),
        (
            {"encryption": {"keys": [{"id": "a", "key": "a" * 64}, {"id": "b", "key": "A" * 64}]}},
            "store.encryption.keys",
            "twice, under two ids",
        ),
    ],
)
def test_every_kind_of_mistake_has_its_path_and_words(loader, store, pointer, words):
    told = loader.faults(tree(**store))
    assert list(told) == [pointer]
    assert words in told[pointer]


@pytest.mark.parametrize("spell", [base64.b64encode, base64.urlsafe_b64encode, bytes.hex])
@pytest.mark.parametrize("raw", [bytes(range(32)), b"\xfb\xff" * 16])
def test_an_encryption_key_is_taken_with_and_without_padding(spell, raw):
    text = spell(raw) if isinstance(spell(raw), str) else spell(raw).decode()
    assert bytes_of(text) == bytes_of(text.rstrip("=")) == raw


def test_mistakes_between_settings_are_told_at_once(loader):
    told = loader.faults(tree(durability="memory", replicas=2, promise="every second", tls_ca="x", max_bytes="1GiB"))
    assert set(told) == {"store.replicas", "store.promise", "store.tls_ca", "store.max_bytes"}


def test_null_is_the_same_as_absent_for_what_the_engine_does_not_have(loader):
    store = {"url": "sqlite:///x.db", "password": None, "partitions": None, "sentinel_password": None, "tls_ca": None}
    assert loader(good() | {"store": store}).store.password is None


def test_what_redis_needs_is_handed_on(loader, tmp_path):
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    settings = loader(
        tree(
            url="redis+sentinel://a:1,b/main/2?tls=true",
            username="convey",
            password={"file": str(tmp_path / "key")},
            sentinel_password="${SENTINEL}",
            tls_ca=str(tmp_path / "ca"),
            durability="replicated",
            replicas=2,
            partitions=64,
        ),
        SENTINEL=SECRET,
    )
    address = settings.store.address
    assert address.hosts == (("a", 1), ("b", 26379))
    assert (address.username, address.password, address.sentinel_password) == ("convey", "key", SECRET)
    assert (address.master, address.database) == ("main", 2)
    assert address.tls is not None
    assert (address.tls.ca, address.tls.certificate) == (tmp_path / "ca", None)
    assert settings.store.is_shared
    assert SECRET not in repr(settings) + repr(address) + str(settings.summary())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://:{SECRET}@cache:6380/1", "redis://:********@cache:6380/1"),
        (f"redis+cluster://convey:{SECRET}@a,b?tls=true", "redis+cluster://convey:********@a,b?tls=true"),
        (f"redis://{SECRET}@cache", "redis://********@cache"),
        ("rediss://cache", "rediss://cache"),
        ("sqlite:///./x.db", "sqlite:///./x.db"),
        (f"redis://:{SECRET}/@", "********"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize("password", ["p@ss", "a:b", "a%b", f"{SECRET}@x:1"])
def test_a_password_by_reference_is_never_shown(loader, password):
    settings = loader(tree(url="redis://:${PASS}@cache"), PASS=password)
    assert settings.summary()["store"]["url"] == "redis://:********@cache"
    assert password not in repr(settings)


def test_tls_is_asked_for_by_scheme_or_option():
    assert parse_url("rediss://cache").tls is not None
    assert parse_url("redis+cluster://cache?tls=true").tls is not None
    assert parse_url("redis://cache").tls is None


def test_weak_choices_are_allowed_with_a_warning(loader):
    warned = loader(tree(durability="declared", promise="AOF every second, two zones", allow_weak=True)).warnings
    assert [(fault.pointer, fault.code) for fault in warned] == [
        ("store.durability", "declared_durability"),
        ("store.allow_weak", "weak_durability"),
    ]
    assert loader(tree()).warnings == ()


def test_roles_need_a_store_that_can_be_shared(loader):
    shared, own = loader(tree()), loader(good())
    assert own.store.path == Path("data/convey.db")
    for role in Role:
        check_role(shared, role)
    check_role(own, Role.ALL)
    for role in (Role.API, Role.WORKER):
        with pytest.raises(ConfigError, match=r"store\.url: names an SQLite file"):
            check_role(own, role)
    assert [(role.takes_events, role.works_lanes) for role in Role] == [(True, True), (True, False), (False, True)]


def test_encryption_keys_as_a_store_takes_them(loader, tmp_path):
    text = base64.b64encode(bytes(range(32))).decode()
    (tmp_path / "key").write_text(text + "\n")
    former = bytes(range(32, 64)).hex()
    keys = [{"id": "new", "key": {"file": str(tmp_path / "key")}}, {"id": "old", "key": former}]
    settings = loader(tree(encryption={"keys": keys, "seal": False}))
    encryption = settings.store.encryption.encryption
    assert [(each.id, each.key) for each in encryption.masters] == [
        ("new", bytes(range(32))),
        ("old", bytes(range(32, 64))),
    ]
    assert not encryption.seals
    shown = repr((settings, settings.summary(), encryption))
    assert "new" in shown
    assert text not in shown and former not in shown
