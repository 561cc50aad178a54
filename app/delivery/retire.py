"""Retiring a destination on purpose: everything that waits for it ends, and the ledger stays closed.

What was pending ends `withdrawn: cancelled`, in deliveries and in money; dead letters stay dead and lose their events,
as nobody could send them again. What the lane book has of the lane goes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from app.delivery.board import Board
from app.delivery.lanes import strike
from app.errors import Outcome, Reason
from app.model import Settlement
from app.outbox.port import PENDING, DeadFilter, Store
from app.outbox.shares import Choice

STEP = 1000
LEASE = timedelta(seconds=60)
DETAIL = "the destination was retired"


@dataclass(frozen=True, slots=True)
class Estate:
    """What a destination leaves: deliveries that wait and their money by currency, and its dead letters.

    `is_known` is false where nothing was ever queued for it.
    """

    is_known: bool
    pending: int = 0
    money: Mapping[str, Decimal] = field(default_factory=dict)
    dead: int = 0


async def estate(store: Store, name: str) -> Estate:
    """What is kept for the destination `name`."""
    account = (await store.ledger()).get(name)
    if account is None:
        return Estate(is_known=False)
    money = {currency: amounts[PENDING] for currency, amounts in account.money.items() if amounts[PENDING]}
    return Estate(True, account.deliveries[PENDING], money, await _dead_letters(store, name))


async def _dead_letters(store: Store, name: str) -> int:
    found, after = 0, None
    while True:
        page = await store.dead_letters(DeadFilter(destination=name), STEP, after, is_brief=True)
        found += len(page.letters)
        if page.after is None:
            return found
        after = page.after


async def retire(store: Store, board: Board, name: str, ended: Callable[[int], None]) -> int:
    """End everything that waits for `name`; returns how many deliveries. `ended` is told the number of each step.

    May be interrupted and begun again.

    Raises: StoreUnavailable.
    """
    total, turn = 0, 0
    while True:
        claimed = await store.claim(name, STEP, LEASE, Choice(turn=turn))
        turn += 1
        if claimed:
            done = await store.settle(
                [
                    Settlement(delivery, Outcome.WITHDRAWN, Reason.CANCELLED, DETAIL, attempted=False)
                    for delivery in claimed
                ]
            )
            total += done
            ended(done)
        elif not await store.hasten(name, STEP):
            break
    page = await store.dead_letters(DeadFilter(destination=name), STEP, is_brief=True)
    while page.letters or page.after is not None:
        await store.purge(page.letters)
        page = await store.dead_letters(DeadFilter(destination=name), STEP, page.after, is_brief=True)
    await strike(board, name)
    return total
