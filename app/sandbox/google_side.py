"""What Google has beside the ingestion: the token endpoint, the quota, and what became of a request later.

Sources (read 2026-11): developers.google.com/identity/protocols/oauth2/service-account (the assertion) and RFC 6749;
developers.google.com/data-manager/api/devguides/limits and /diagnostics; shapes from the discovery document of
2026-11-06.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import google.auth.jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SCOPE = "https://www.googleapis.com/auth/datamanager"
AUDIENCE = "https://oauth2.googleapis.com/token"  # documented: `aud` of an assertion
LONGEST_ASSERTION_S = 3600  # documented
ANY_TIME_S = 10**9  # the times are compared with the sandbox clock instead
PER_MINUTE, PER_DAY = 300, 100_000  # documented: requests that write, per project; reads the same, apart
DAY_S = 86_400
KEPT_S = 50 * DAY_S  # from the library's words: then REQUEST_TOO_OLD
OLDEST_S = 90 * DAY_S  # seen in peers

LATE = {  # the transaction ids for which a request is refused afterwards, and why
    "LATE-GOOGLE": "INVALID_EVENT",
    "LATE-CONSENT-GOOGLE": "DENIED_CONSENT",
    "LATE-DUPLICATE-GOOGLE": "DUPLICATE_TRANSACTION_ID",
}


@dataclass(slots=True)
class Quota:
    """Requests of one kind in the present minute and day."""

    minute: int = -1
    day: int = -1
    in_minute: int = 0
    in_day: int = 0

    def spend(self, now: float) -> str | None:
        """Count one request; the name of the limit that it passes, if it does."""
        minute, day = int(now // 60), int(now // DAY_S)
        if minute != self.minute:
            self.minute, self.in_minute = minute, 0
        if day != self.day:
            self.day, self.in_day = day, 0
        if self.in_day >= PER_DAY:
            return "PerDayPerProject"
        if self.in_minute >= PER_MINUTE:
            return "PerMinutePerProject"
        self.in_minute += 1
        self.in_day += 1
        return None


@dataclass(slots=True)
class Kept:
    """A request that was taken: its destinations, and per destination the position and reason of what fails later."""

    at: float
    destinations: list[dict[str, Any]]
    counts: list[int]
    failures: list[dict[str, list[int]]]


@dataclass(slots=True)
class GoogleSide:
    """The memory of one pretend project.

    `keys` are public keys (PEM) by service account: with one, the signature of an assertion is checked. `revoked` are
    service accounts and refresh tokens that get no token. `token_replies` and `status_replies` are HTTP statuses to
    answer the next requests with, in order. `status_after_s` is how long a request stays in processing.
    """

    keys: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    token_replies: list[int] = field(default_factory=list)
    status_replies: list[int] = field(default_factory=list)
    token_life_s: float = 3599.0
    status_after_s: float = 0.0
    writes: Quota = field(default_factory=Quota)
    reads: Quota = field(default_factory=Quota)
    tokens: dict[str, tuple[float, str]] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _order: deque[str] = field(default_factory=deque)

    def forget(self) -> None:
        """Drop tokens, requests and what was spent; who may have a token, and the scripts, stay."""
        self.writes, self.reads = Quota(), Quota()
        self.asked.clear()
        for memory in (self.tokens, self.kept, self._order):
            memory.clear()

    def is_good(self, token: str, now: float) -> bool:
        """Whether a token was given here, has not ended, and its owner is not revoked."""
        ends_at, owner = self.tokens.get(token, (0.0, ""))
        return now < ends_at and owner not in self.revoked

    def spend(self, now: float) -> str | None:
        """Count one request that writes; the limit that it passes."""
        limit = self.writes.spend(now)
        return None if limit is None else f"IngestionMutateRequests{limit}"

    def remember(self, request_id: str, body: Mapping[str, Any], now: float) -> None:
        """Keep what is needed to answer for this request later."""
        references = [one.get("reference", "") for one in body["destinations"]]
        counts = [0] * len(references)
        failures: list[dict[str, list[int]]] = [{} for _ in references]
        for index, event in enumerate(body["events"]):
            for place in map(references.index, event.get("destinationReferences") or references):
                counts[place] += 1
                reason = _late_reason(event)
                if reason is not None:
                    failures[place].setdefault(reason, []).append(index)
        self.kept[request_id] = Kept(now, body["destinations"], counts, failures)
        self._order.append(request_id)
        while len(self._order) > 50_000:
            self.kept.pop(self._order.popleft(), None)

    def grant(self, form: Mapping[str, str], now: float) -> tuple[int, dict[str, Any]]:
        """The token endpoint's answer: status and body."""
        self.asked["token"] += 1
        if self.token_replies:
            return self.token_replies.pop(0), {"error": "scripted"}
        kind = form.get("grant_type")
        if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            owner, wrong = self._assertion(form.get("assertion", ""), now)
        elif kind == "refresh_token":
            owner = form.get("refresh_token", "")
            wrong = None if owner and form.get("client_id") and form.get("client_secret") else "invalid_client"
        else:
            owner, wrong = "", "unsupported_grant_type"
        if wrong is None and (owner in self.revoked or owner.upper().startswith("DEAD")):
            wrong = "invalid_grant"
        if wrong is not None:
            return 400, {"error": wrong, "error_description": "Token has been expired or revoked."}
        token = f"ya29.sandbox-{next(self._serial):06d}"
        self.tokens[token] = (now + self.token_life_s, owner)
        return 200, {"access_token": token, "expires_in": int(self.token_life_s), "token_type": "Bearer"}

    def _assertion(self, assertion: str, now: float) -> tuple[str, str | None]:
        """The issuer of a signed assertion, and what is wrong with it."""
        try:
            header = google.auth.jwt.decode_header(assertion)  # type: ignore[no-untyped-call]
            claims = google.auth.jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
            issuer = claims["iss"]
            if issuer in self.keys:
                google.auth.jwt.decode(
                    assertion, certs=self.keys[issuer], audience=AUDIENCE, clock_skew_in_seconds=ANY_TIME_S
                )  # type: ignore[no-untyped-call]
            fits = header.get("alg") == "RS256" and claims["aud"] == AUDIENCE
            lives = claims["iat"] - 300 <= now < claims["exp"] <= claims["iat"] + LONGEST_ASSERTION_S
        except Exception:
            return "", "invalid_grant"
        if SCOPE not in claims.get("scope", "").split():
            return issuer, "invalid_scope"
        return issuer, None if fits and lives else "invalid_grant"

    def status(self, request_id: str, token: str | None, now: float) -> tuple[int, dict[str, Any]]:
        """What became of a request: status and body."""
        self.asked["status"] += 1
        if self.status_replies:
            return _error(self.status_replies.pop(0), "UNAVAILABLE")
        if token is None or not self.is_good(token, now):
            return _error(401, "UNAUTHENTICATED")
        if self.reads.spend(now) is not None:
            return _error(429, "RESOURCE_EXHAUSTED")
        kept = self.kept.get(request_id)
        if kept is None:
            return _error(404, "NOT_FOUND")
        if now > kept.at + KEPT_S:
            return _error(400, "FAILED_PRECONDITION", "REQUEST_TOO_OLD")
        is_done = now >= kept.at + self.status_after_s
        rows = [_row(*row, is_done=is_done) for row in zip(kept.destinations, kept.counts, kept.failures, strict=True)]
        return 200, {"requestStatusPerDestination": rows}


def _late_reason(event: Mapping[str, Any]) -> str | None:
    transaction = event.get("transactionId", "")
    for prefix, reason in LATE.items():
        if transaction.startswith(prefix):
            return reason
    consent = event.get("consent", {})
    return "DENIED_CONSENT" if consent.get("adUserData") == "CONSENT_DENIED" else None


def _row(
    destination: dict[str, Any], count: int, failures: Mapping[str, list[int]], *, is_done: bool
) -> dict[str, Any]:
    failed = sum(len(indices) for indices in failures.values())
    word = (
        "PROCESSING" if not is_done else "SUCCESS" if not failed else "FAILED" if failed == count else "PARTIAL_SUCCESS"
    )
    row: dict[str, Any] = {"destination": destination, "requestStatus": word}
    row["eventsIngestionStatus"] = {"recordCount": str(count)}  # int64: text
    if is_done and failures:
        row["errorInfo"] = {
            "errorCounts": [
                {
                    "reason": f"PROCESSING_ERROR_REASON_{reason}",
                    "recordCount": str(len(indices)),
                    "recordIndices": [str(index) for index in indices],
                }
                for reason, indices in failures.items()
            ]
        }
    return row


def _error(status: int, code: str, reason: str | None = None) -> tuple[int, dict[str, Any]]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason or code}
    return status, {"error": {"code": status, "status": code, "message": code, "details": [info]}}


def routes(side: GoogleSide, now: Callable[[], float]) -> list[Route]:
    """The token endpoint, the status of a request, and the control of both."""

    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("latin-1"), keep_blank_values=True))
        status, body = side.grant(form, now())
        return JSONResponse(body, status)

    async def retrieve(request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        bearer = given.strip() if scheme.lower() == "bearer" else None
        status, body = side.status(request.query_params.get("requestId", ""), bearer or None, now())
        return JSONResponse(body, status)

    async def control(request: Request) -> Response:
        if request.method == "PUT":
            given = await request.json()
            if unknown := set(given) - _CONTROLS:
                return JSONResponse({"error": f"unknown key {min(unknown)}"}, 400)
            for name, value in given.items():
                setattr(side, name, set(value) if name == "revoked" else value)
        shown = {name: sorted(side.revoked) if name == "revoked" else getattr(side, name) for name in _CONTROLS}
        return JSONResponse({**shown, "asked": dict(side.asked)})

    return [
        Route("/token", token, methods=["POST"]),
        Route("/v1/requestStatus:retrieve", retrieve, methods=["GET"]),
        Route("/_google", control, methods=["GET", "PUT"]),
    ]


_CONTROLS = frozenset(["keys", "revoked", "token_replies", "status_replies", "token_life_s", "status_after_s"])
