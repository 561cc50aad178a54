"""What must hold after every scenario, whatever was done: nothing lost, nothing counted twice, a ledger that closes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal

from tests.chaos.world import World
from tests.e2e.harness import CURRENCY, PLATFORMS, assert_ledger_closes, money, wait_until

SETTLE_S = 180.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The sums since the world began. `accepted` are orders, the others deliveries, over all platforms."""

    kills: int
    accepted: int
    delivered: int
    counted: int
    repeated: int
    lost: int
    twice: int
    given_up_kept: int

    def __str__(self) -> str:
        return (
            f"kills {self.kills}, accepted {self.accepted} orders (and {self.given_up_kept} whose 202 nobody saw), "
            f"delivered {self.delivered}, counted {self.counted}, counted twice {self.twice}, "
            f"repeated sends {self.repeated}, lost {self.lost}"
        )


def settled(world: World) -> Figures:
    """The figures, once nothing waits any more and everything that must hold holds.

    Each order answered with 202 was counted by each platform, exactly once, save for those of `may_be_lost`. The
    ledger closes in deliveries and in money, and says what the platforms say to the unit and the cent.
    """

    def pending() -> int:
        return sum(account["pending"] for account in world.fleet.ledger().values())

    try:
        wait_until("nothing to be pending", lambda: pending() == 0, SETTLE_S, every_s=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(world.fleet.ledger(), indent=1)}\n{world.fleet.tails()}") from None
    ledger = world.fleet.ledger()
    assert_ledger_closes(ledger)
    lost = twice = counted_in_all = repeated = unseen = 0
    for name in PLATFORMS:
        counted = world.sandbox.counted(name)
        missing = world.accepted.keys() - counted.keys()
        lost += len(missing - world.may_be_lost)
        twice += sum(times - 1 for times in counted.values())
        counted_in_all += len(counted)
        unseen = max(unseen, len(counted.keys() - world.accepted.keys()))
        repeated += world.sandbox.taken(name).total() - len(counted)
        assert counted.keys() <= world.posted.keys(), "a platform has orders that nobody posted"
        revenue = money(world.posted[event_id] for event_id in counted)
        assert world.sandbox.counted_money(name) == revenue
        account = ledger[name]
        if not world.was_emptied:
            assert account["queued"] == account["delivered"] == len(counted), (
                f"{name}: {account}, counted {len(counted)}"
            )
            assert Decimal(account["money"][CURRENCY]["delivered"]) == revenue
        else:
            assert account["queued"] == account["delivered"] <= len(counted)
    figures = Figures(
        world.fleet.kills,
        len(world.accepted),
        sum(account["delivered"] for account in ledger.values()),
        counted_in_all,
        repeated,
        lost,
        twice,
        unseen,
    )
    assert (lost, twice) == (0, 0), f"{figures}\n{world.fleet.tails()}"
    return figures
