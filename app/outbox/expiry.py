"""When a data key has had its time: once nothing that is kept can be sealed under it.

A body is sealed on the day its event is accepted, or later where a repeat brings it anew. So nothing that waits is
sealed under a key once all that waits was accepted after its day; the instant of that is noted (`freed`). What died
before that instant may be, what dies later is not. So once every dead letter is younger the key goes. Contexts are
outlived by far: no key goes before `KEPT_FOR`. What is held back until it is paid for does not tell its age: while
there is such, a key stays until nothing of its day can be held any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.outbox.port import DeadFilter, Outbox
from app.outbox.vault import Vault

KEPT_FOR = timedelta(days=32)
"""At least, from the beginning of its day: contexts are kept for 30 days at most."""
HELD_FOR = timedelta(days=100)
"""No event is held back longer: the longest age at which a platform takes one is 90 days (Google's), from its time."""
CLOCKS_APART = timedelta(hours=1)
PERIOD = timedelta(minutes=10)


class Expiry:
    """For one process; others may do the same for the same store."""

    def __init__(self, vault: Vault, outbox: Outbox, now: Callable[[], datetime]) -> None:
        self._vault = vault
        self._outbox = outbox
        self._now = now
        self._next = datetime.min.replace(tzinfo=UTC)

    async def run(self) -> int:
        """Delete the data keys that are due, now and then; returns how many.

        Raises: StoreUnavailable.
        """
        now = self._now()
        old = self._vault.before((now - KEPT_FOR).date()) if self._vault.is_on and now >= self._next else []
        if not old:
            return 0
        self._next = now + PERIOD
        # Dead letters on both sides of what waits: a replay that dies again in between is seen by one of them.
        first_dead = await self._oldest_dead()
        backlog = (await self._outbox.backlog()).values()
        oldest = min([each.oldest_accepted_at for each in backlog if each.oldest_accepted_at], default=None)
        is_holding = any(each.held for each in backlog)
        still_dead = await self._oldest_dead()
        dead = min([each for each in (first_dead, still_dead) if each is not None], default=None)
        freed = await self._vault.freed()
        due = []
        for name, end_of_day in old:
            if is_holding and now < end_of_day + HELD_FOR:
                continue
            if oldest is not None and oldest <= end_of_day + CLOCKS_APART:
                if name in freed:  # something was replayed
                    await self._vault.hold(name)
            elif name not in freed:
                await self._vault.free(name, now)
            elif dead is None or dead > freed[name] + CLOCKS_APART:
                due.append(name)
        await self._vault.destroy(due)
        return len(due)

    async def _oldest_dead(self) -> datetime | None:
        """When the oldest dead letter died."""
        after = None
        while True:
            page = await self._outbox.dead_letters(DeadFilter(), 1, after, is_brief=True)
            if page.letters or page.after is None:
                return page.letters[0].died_at if page.letters else None
            after = page.after
