"""The ledger's self-check: every pending and dead delivery counted again, within one snapshot beside the writer."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from decimal import Decimal

from app.outbox.recount import Place, Recount, Sum, compare

AT_ONCE = 1000
REST_S = 0.001
"""A rest after so many rows: the event loop's thread wants the interpreter, too."""

_STORED = """
SELECT lane, 'pending', currency, amount FROM deliveries INDEXED BY deliveries_waiting WHERE state = 0
UNION ALL
SELECT lane, 'dead', currency, amount FROM deliveries INDEXED BY deliveries_dead WHERE state = 2
"""


def recount(connection: sqlite3.Connection, names: Mapping[int, str], is_unwanted: Callable[[], bool]) -> Recount:
    """What a connection of its own finds. Blocks its thread for seconds where millions wait; nobody waits for it.

    `is_unwanted` is asked after so many rows; where it says yes, what was found by then comes back, uncompared.
    """
    with closing(connection):
        connection.execute("BEGIN")
        counted: dict[Place, Sum] = {
            (names[lane], state, currency): Sum(deliveries, Decimal(amount))
            for lane, state, currency, deliveries, amount in connection.execute(
                "SELECT lane, state, currency, deliveries, amount FROM counts"
            )
        }
        stored: dict[Place, Sum] = {}
        number = 0
        rows = connection.execute(_STORED)
        while some := rows.fetchmany(AT_ONCE):
            number += len(some)
            for lane, state, currency, amount in some:
                held = stored.setdefault((names[lane], state, currency or ""), Sum())
                held.deliveries += 1
                if amount is not None:
                    held.amount += Decimal(amount)
            if is_unwanted():
                return Recount(number)
            time.sleep(REST_S)
        return Recount(number, tuple(compare(counted, stored)))
