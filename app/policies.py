"""What the configuration says, as each part reads it: sources for the pipeline, destinations for their lanes, keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction

from pydantic import BaseModel, SecretStr

from app.api.guards import Principal
from app.config import DestinationConfig, Settings, SourceConfig
from app.delivery.lane import LaneConfig
from app.delivery.retry import RetryPolicy
from app.destinations.registry import destinations as known_destinations
from app.outbox.room import Bound, Limits
from app.pipeline import Route, SourcePolicy


def principals(settings: Settings) -> dict[str, Principal]:
    """Who each key's hash stands for."""
    return {
        key.hash: Principal(source.name, key.name or f"{source.name}-{position}", frozenset(key.scopes), key.expires)
        for source in settings.sources
        for position, key in enumerate(source.keys)
    }


def source_policy(settings: Settings, source: SourceConfig, proof_key: bytes, person_key: bytes) -> SourcePolicy:
    """What the configuration says about one source, as the pipeline reads it; the keys are the store's own."""
    known = known_destinations()
    return SourcePolicy(
        name=source.name,
        routes=tuple(
            Route(
                destination.name,
                known[destination.type],
                destination.settings,
                source.destinations is None or destination.name in source.destinations,
                destination.consent,
            )
            for destination in settings.destinations
        ),
        dedup_window=source.dedup_window,
        has_pixel=source.pixel,
        consent=settings.consent_of(source),
        proof_key=proof_key,
        person_key=person_key,
        leak_policy=source.leak_policy,
        sends_conflicts=source.on_conflict == "send",
        event_id_template=source.event_id_template,
        context_retention=source.context_retention,
        takes_receipts=source.receipts,
        receipt_origins=frozenset(source.receipt_origins),
        pair_after=source.pair_after,
        hashing=source.hashing_options(),
    )


LARGEST_SHARE = Fraction(1, 2)
"""What of the store's limits one destination may take up: a platform that is away leaves room for the others."""


def backlog_limits(settings: Settings) -> Limits:
    """How much may wait, over all destinations and for each."""
    store = settings.store
    share = {
        "deliveries": max(1, int(store.max_waiting * LARGEST_SHARE)),
        "bytes": None if store.max_bytes is None else int(store.max_bytes * LARGEST_SHARE),
    }
    return Limits(
        store.max_waiting,
        {
            destination.name: Bound(
                destination.tuning.max_waiting or share["deliveries"],
                destination.tuning.max_waiting_bytes or share["bytes"],
            )
            for destination in settings.destinations
        },
        frozenset(destination.name for destination in settings.destinations if destination.tuning.on_full == "skip"),
    )


def watched_sources(settings: Settings) -> frozenset[str]:
    """The sources whose pages report which pixels fired."""
    return frozenset(source.name for source in settings.sources if source.receipts)


def lane_config(destination: DestinationConfig, salt: bytes = b"", watched: frozenset[str] = frozenset()) -> LaneConfig:
    """What the configuration says about one destination, as its lane reads it.

    `salt` hides the credential's digest; `watched` are `watched_sources`.
    """
    kind = known_destinations()[destination.type]
    tuning = destination.tuning
    return LaneConfig(
        name=destination.name,
        destination=kind,
        settings=destination.settings,
        linger=tuning.linger,
        timeout=tuning.timeout,
        lease=tuning.lease,
        max_items=min(tuning.max_batch or kind.limits.max_items, kind.limits.max_items),
        max_in_flight=tuning.max_in_flight or kind.limits.max_in_flight,
        retry=RetryPolicy(tuning.retry_first, tuning.retry_cap, tuning.max_attempts),
        rates=kind.limits.rates if tuning.rates is None else tuning.rates,
        budget=tuning.budget or kind.budget(destination.settings) or destination.name,
        is_newest_first=tuning.order == "newest_first",
        watched=watched,
        credential=_fingerprint(destination.settings, salt),
    )


def _fingerprint(settings: BaseModel, salt: bytes) -> str:
    """A word that is the same for the same secrets and says nothing of them."""
    digest = hashlib.blake2b(key=salt[:64], digest_size=8)
    for secret in _secrets(settings):
        digest.update(hashlib.sha256(secret.encode()).digest())
    return digest.hexdigest()


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
