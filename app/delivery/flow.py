"""What the workers of one store tell each other of a lane's flow, as a value: parked, open, eased, who probes. Pure.

Each worker has a pace of its own (`app.delivery.limits`). What one learns that holds for all of them goes into this
record: that the platform is down, refuses the credentials or asks to slow down, and until when to wait. While a lane
is parked or open, one worker at a time asks with one event; the others wait for what it finds out.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from app.delivery import limits
from app.delivery.limits import Pace

STALE = timedelta(minutes=10)
"""How long after its last wait a record of a closed lane is believed, if nobody writes another."""


class Flow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The shared record of one lane.

    `credential` tells secrets apart without saying anything of them: a lane is parked for those who have the secret
    the platform refused, and a worker that has another goes on. `eased` counts the times the platform asked to slow
    down. `prober` is the worker that asks for all, until `probe_until` at the latest.
    """

    state: str = "running"
    since: datetime | None = None
    held_until: datetime | None = None
    failures: int = 0
    detail: str | None = None
    credential: str = ""
    eased: int = 0
    prober: str = ""
    probe_until: datetime | None = None

    def holds(self, credential: str) -> bool:
        """Whether it closes the lane for a worker that has this secret."""
        return self.state == "open" or (self.state == "parked" and self.credential == credential)


def told(flow: Flow, pace: Pace, credential: str, now: datetime) -> Flow:
    """The record after a worker whose pace has changed says so."""
    if pace.state == "running":
        return flow if flow.state == "running" else Flow("running", now, eased=flow.eased)
    if flow.state == pace.state and flow.holds(credential) and (flow.held_until or now) >= (pace.held_until or now):
        return flow  # somebody found out the same and waits longer
    return Flow(
        pace.state,
        flow.since if flow.state == pace.state else now,
        pace.held_until,
        pace.failures,
        pace.detail,
        credential if pace.is_parked else "",
        flow.eased,
    )


def asked_to_slow_down(flow: Flow, held_until: datetime | None) -> Flow:
    """The record after a platform said that it was too much."""
    if flow.state != "running":
        return flow
    return msgspec.structs.replace(flow, eased=flow.eased + 1, held_until=held_until)


def adopted(pace: Pace, before: Flow, flow: Flow, credential: str) -> Pace:
    """A worker's pace after it read `flow`, having read or written `before` last, and told what it knows itself."""
    if flow.holds(credential):
        return Pace(
            pace.max_items,
            pace.max_in_flight,
            pace.items,
            pace.in_flight,
            max(flow.failures, limits.PROBE_AFTER) if flow.state == "open" else flow.failures,
            held_until=flow.held_until,
            is_parked=flow.state == "parked",
            detail=flow.detail,
        )
    if pace.is_probe:
        return limits.recovering(pace)
    if flow.eased > before.eased:
        return limits.eased(pace, flow.held_until)
    return pace


def begin_probe(flow: Flow, worker: str, now: datetime, lease: timedelta) -> Flow:
    """The record with `worker` asking for all, unless somebody else does or nobody need ask yet."""
    if flow.state == "running" or (flow.held_until is not None and now < flow.held_until):
        return flow
    if flow.probe_until is not None and now < flow.probe_until:
        return flow
    return msgspec.structs.replace(flow, prober=worker, probe_until=now + lease)


def try_now(flow: Flow, now: datetime) -> Flow:
    """The record after a person said to go on: the next probe goes at once."""
    if flow.state == "running":
        return msgspec.structs.replace(flow, held_until=None)
    return msgspec.structs.replace(flow, held_until=now, prober="", probe_until=None)
