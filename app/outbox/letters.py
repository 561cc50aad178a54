"""Dead letters that have had their time: nobody replayed them, and their events are not kept for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from app.logs import wide_event
from app.outbox.port import DeadFilter, Outbox

log = logging.getLogger("convey.store")

STEP = 250
"""Letters one durable step purges: what everybody else waits for meanwhile."""
STEPS = 40
"""Steps of one sweep at most."""


async def purge_old(outbox: Outbox, retention: timedelta, now: Callable[[], datetime]) -> int:
    """Purge dead letters that died longer than `retention` ago, a bounded number a call; returns how many.

    Their counts and their money stay in the ledger, as with any purge.

    Raises: StoreUnavailable.
    """
    which = DeadFilter(died_before=now() - retention)
    purged, after = 0, None
    for _ in range(STEPS):
        page = await outbox.dead_letters(which, STEP, after, is_brief=True)
        if page.letters:
            purged += await outbox.purge(page.letters)
        after = page.after
        if after is None:
            break
    if purged:
        detail = "dead letters older than store.dead_letter_retention lost their events; the ledger keeps them"
        wide_event(log, "dead_letters.expired", level=logging.WARNING, count=purged, detail=detail)
    return purged
