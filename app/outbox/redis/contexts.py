"""Contexts of orders: one key each in the partition of the order, deleted by the server when its time is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from app.dedup.port import KeptContext
from app.errors import StoreUnavailable
from app.outbox.redis.link import Link
from app.outbox.redis.places import blob, place_of, to_us
from app.outbox.vault import Vault, context_of


async def keep(link: Link, contexts: Sequence[KeptContext], vault: Vault) -> None:
    """Write contexts durably, each in place of an earlier one.

    Raises:
        StoreUnavailable: At least one may not have been kept.
    """
    asked = []
    for each in contexts:
        place = place_of(each.source, each.transaction, link.partitions)
        body = vault.seal(each.body, context_of(each.source, each.transaction))
        asked.append((place.partition, (place.field, blob(body), to_us(each.until))))
    for answer in await link.scatter("keep_contexts", asked, lambda reply: reply, durable=True):
        if isinstance(answer, StoreUnavailable):
            raise answer


async def read(link: Link, source: str, transactions: Collection[str], vault: Vault) -> Mapping[str, bytes]:
    """The contexts of these orders; those that nobody can open any more are absent.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    wanted = list(transactions)
    places = [place_of(source, transaction, link.partitions) for transaction in wanted]
    asked = [(place.partition, place.field) for place in places]
    found: dict[str, bytes] = {}
    for transaction, body in zip(wanted, await link.scatter("contexts", asked, lambda reply: reply), strict=True):
        if isinstance(body, StoreUnavailable):
            raise body
        if body is not None:
            found[transaction] = bytes(body)
    await vault.get_to_know(found.values())
    return vault.contexts(source, found.items())
