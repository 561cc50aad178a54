"""The id registry: which event_id an event of a transaction has, whoever asks first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class IdKey:
    """What an event_id belongs to: (source, canonical event name, transaction key, occurrence)."""

    source: str
    event_name: str
    transaction: str
    occurrence: str | None = None


@dataclass(frozen=True, slots=True)
class MintedId:
    """The id of a key. `is_new` says that this call minted it; `remember_until` when it may be forgotten."""

    event_id: str
    is_new: bool
    remember_until: datetime


@dataclass(frozen=True, slots=True)
class KeptContext:
    """The context of one order, as bytes (`app.dedup.context`), and the instant from which it may be forgotten."""

    source: str
    transaction: str
    body: bytes
    until: datetime


class IdStore(Protocol):
    """Remembers ids and contexts. `Outbox.accept` uses the same store within its own transaction."""

    async def mint(self, key: IdKey, event_id: str, remember_until: datetime) -> MintedId:
        """The id of `key`: the one minted or accepted earlier, else `event_id`, now remembered durably.

        Atomic under any race: every caller gets the same id.

        Raises: StoreUnavailable.
        """

    async def read(self, key: IdKey) -> MintedId | None:
        """The id of `key`, or None when none is remembered."""

    async def keep_contexts(self, contexts: Sequence[KeptContext]) -> None:
        """Keep these durably, each in place of an earlier one of its order.

        Raises: StoreUnavailable.
        """

    async def contexts(self, source: str, transactions: Collection[str]) -> Mapping[str, bytes]:
        """The contexts kept for these orders of one source, by transaction; those that have none are absent.

        Raises: StoreUnavailable.
        """
