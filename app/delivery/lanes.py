"""The lanes as a person sees and steers them: the state of each over all workers, pauses, and going on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.delivery import flow as flows
from app.delivery.board import Board, Presence
from app.delivery.flow import Flow
from app.delivery.pauses import NOTHING, Hold, Pauses, held, lifted
from app.delivery.rates import Bucket
from app.outbox.port import Backlog, Outbox

EMPTY = Backlog(0, 0, None)


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane over all workers. `until` is the end of a pause, or the next try of a lane that is parked or open."""

    state: str
    since: datetime | None
    until: datetime | None
    reason: str | None
    backlog: Backlog
    in_flight: int
    rate_per_minute: int | None
    paused: Mapping[str, Hold]


def view(flow: Flow, pauses: Pauses, backlog: Backlog, in_flight: int) -> LaneView:
    """What a person is told of a lane. Pure; `pauses` are those that hold now."""
    cap = None if pauses.cap is None else pauses.cap.rate_per_minute
    rest = (backlog, in_flight, cap, pauses.names)
    if pauses.whole is not None:
        return LaneView("paused", pauses.whole.since, pauses.whole.until, pauses.whole.reason, *rest)
    if flow.state != "running":
        return LaneView(flow.state, flow.since, flow.held_until, flow.detail, *rest)
    return LaneView("running", None, None, None, *rest)


async def lane_views(
    board: Board, outbox: Outbox, names: Collection[str], now: datetime
) -> tuple[Mapping[str, LaneView], int]:
    """Each lane by name, as the board has them, and how many workers there are.

    Raises: StoreUnavailable.
    """
    backlog = await outbox.backlog()
    present = [presence for name in board.names("worker/") if (presence := board.read(name, Presence)) is not None]
    views = {
        name: view(
            board.read(f"flow/{name}", Flow) or Flow(),
            (board.read(f"pause/{name}", Pauses) or NOTHING).at(now),
            backlog.get(name, EMPTY),
            sum(presence.in_flight.get(name, 0) for presence in present),
        )
        for name in names
    }
    return views, len(present)


async def pause(board: Board, name: str, hold: Hold, event_name: str | None = None) -> None:
    """Hold back a lane, one event name of it, or (a cap) its rate, for every worker.

    Raises: StoreUnavailable.
    """
    await board.change(
        f"pause/{name}", Pauses, lambda known: held((known or NOTHING).at(hold.since), hold, event_name), None
    )


async def resume(board: Board, name: str, now: datetime, event_name: str | None = None) -> None:
    """Lift every pause of a lane, or that of one event name; have a lane that is parked or open tried at once.

    Raises: StoreUnavailable.
    """

    def lift(known: Pauses | None) -> Pauses | None:
        left = lifted((known or NOTHING).at(now), event_name)
        return None if left == NOTHING else left

    await board.change(f"pause/{name}", Pauses, lift, None)
    if event_name is None:
        await board.change(
            f"flow/{name}", Flow, lambda known: None if known is None else flows.try_now(known, now), flows.STALE
        )


async def strike(board: Board, name: str) -> None:
    """Delete what the book has of a lane that is no more.

    Raises: StoreUnavailable.
    """
    await board.refresh()
    await board.change(f"flow/{name}", Flow, lambda _: None, flows.STALE)
    await board.change(f"pause/{name}", Pauses, lambda _: None, None)
    for kind in ("cap", "rate"):
        await board.change(f"{kind}/{name}", Bucket, lambda _: None, flows.STALE)
