"""`/livez` and `/readyz`: open, cheap, and about this process only; with a key that may read, in detail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from app.api.guards import authorise

router = APIRouter(tags=["health"])

STALE_AFTER_S = 15.0


class Health:
    """What the probes answer from: written by the runtime, read by the handlers, never asking the store."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checked_at = float("-inf")
        self._reason: str | None = "starting"
        self._progress: dict[str, float] = {}
        self.is_closing = False
        self.test_modes: tuple[str, ...] = ()
        """The destinations that test events reach."""

    def close(self) -> None:
        """Be unready from now on, whatever is reported: the process is about to end."""
        self.is_closing = True

    def report(self, reason: str | None) -> bool:
        """Note whether events can be kept now: None when they can, else why not. Returns whether that changed."""
        changed = (reason is None) != (self._reason is None)
        self._reason = reason
        self._checked_at = self._clock()
        return changed

    def expect(self, lanes: Iterable[str]) -> None:
        """Lanes that have to go round from now on; a process without any is alive while it answers."""
        self._progress |= dict.fromkeys(lanes, self._clock())

    def progressed(self, lane: str) -> None:
        """Note that a lane went round its loop."""
        self._progress[lane] = self._clock()

    def unready_reason(self) -> str | None:
        """Why events cannot be accepted durably now; None when they can. An old check counts as no check."""
        if self.is_closing:
            return "shutting down"
        if self._reason is None and self._clock() - self._checked_at > STALE_AFTER_S:
            return "the last check is too old"
        return self._reason

    def details(self) -> dict[str, Any]:
        """What a person who looks wants to know: how old the last check is, and when each lane last went round."""
        now = self._clock()
        checked = None if self._checked_at == float("-inf") else round(now - self._checked_at, 1)
        lanes = {lane: {"progressed_s_ago": round(now - at, 1)} for lane, at in sorted(self._progress.items())}
        return {
            "checked_s_ago": checked,
            "stalled": self.stalled_lanes(),
            "lanes": lanes,
            "test_mode": list(self.test_modes),
        }

    def stalled_lanes(self) -> list[str]:
        """The lanes that have not gone round for too long."""
        now = self._clock()
        return [lane for lane, at in self._progress.items() if now - at > 4 * STALE_AFTER_S]


@router.head("/livez", include_in_schema=False)
@router.get("/livez", operation_id="livez", summary="Does the process make progress?")
async def livez(request: Request) -> Response:
    """200 while the process answers and its lanes go round; 503 when a lane has stalled."""
    health: Health = request.app.state.health
    stalled = health.stalled_lanes()
    body: dict[str, Any] = {"status": "stalled", "lanes": stalled} if stalled else {"status": "ok"}
    return Response(_with_details(body, request, health), 503 if stalled else 200, media_type="application/json")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", operation_id="readyz", summary="Can events be accepted durably?")
async def readyz(request: Request) -> Response:
    """200 while an event would be kept; 503 otherwise. What platforms answer plays no part."""
    health: Health = request.app.state.health
    reason = health.unready_reason()
    body: dict[str, Any] = {"status": "ready"} if reason is None else {"status": "unready", "reason": reason}
    return Response(_with_details(body, request, health), 200 if reason is None else 503, media_type="application/json")


def _with_details(body: dict[str, Any], request: Request, health: Health) -> bytes:
    """The body; for a caller who shows a key with the scope `read`, with what a person wants to know.

    Raises: Problem 401 or 403 for a key that may not.
    """
    if "authorization" in request.headers:
        authorise(request, "read")
        body["details"] = health.details()
    return orjson.dumps(body)
