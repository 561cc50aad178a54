"""Error answers: RFC 9457 problem bodies that name the field and the remedy, and never repeat a value."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.errors import Fault, StoreFull, StoreUnavailable
from app.logs import wide_event

log = logging.getLogger("convey.api")

STORE_RETRY_AFTER_S = 5

TITLES: Mapping[str, tuple[int, str]] = {
    "unreadable_body": (400, "The body cannot be read"),
    "invalid_parameter": (400, "A parameter cannot be used"),
    "unauthorized": (401, "No usable API key"),
    "forbidden": (403, "The key lacks the scope"),
    "not_found": (404, "Not found"),
    "not_held": (409, "The event is not held back"),
    "method_not_allowed": (405, "Method not allowed"),
    "body_too_slow": (408, "The body came too slowly"),
    "body_too_large": (413, "The body is too large"),
    "too_many_events": (413, "Too many events in one request"),
    "too_many_ids": (413, "Too many ids in one request"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "too_many_receipts": (429, "Too many receipts in a minute"),
    "invalid_events": (422, "Every event is invalid"),
    "invalid_ids": (422, "None of these can have an id"),
    "rejected": (400, "The request was refused"),
    "internal_error": (500, "Something went wrong on our side"),
    "store_unavailable": (503, "The event store cannot take events right now"),
}
"""Every kind of problem: its status and title. The kind is the last part of `type`."""


class Problem(HTTPException):
    """Ends a request with a problem body."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(TITLES[kind][0], detail, dict(headers or {}))
        self.kind = kind
        self.errors = tuple(errors)
        self.extra = dict(extra or {})


def fault_json(fault: Fault) -> dict[str, str]:
    """One error as the answers spell it."""
    return {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail}


def problem_response(request: Request, problem: Problem) -> Response:
    """The response that tells `problem`."""
    status, title = TITLES[problem.kind]
    request.scope["convey.problem"] = problem.kind
    body = {
        "type": f"urn:convey:problem:{problem.kind}",
        "title": title,
        "status": status,
        "detail": problem.detail,
        "instance": request.scope.get("convey.request_id", ""),
        "errors": [fault_json(fault) for fault in problem.errors],
        **problem.extra,
    }
    return Response(
        orjson.dumps(body), status, headers=dict(problem.headers or {}), media_type="application/problem+json"
    )


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem body."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(StoreUnavailable, _on_store)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_crash)


def _on_http(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return problem_response(request, error)
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = getattr(error, "headers", None)
    if status == 404:
        return problem_response(request, Problem("not_found", "there is nothing at this path", headers=headers))
    if status == 405:
        detail = "this path answers other methods; see Allow"
        return problem_response(request, Problem("method_not_allowed", detail, headers=headers))
    return problem_response(request, Problem("rejected", "the request cannot be processed as it is", headers=headers))


def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        Fault("/" + "/".join(str(part) for part in each["loc"]), each["type"], each["msg"]) for each in error.errors()
    ]
    return problem_response(request, Problem("invalid_parameter", "see errors", errors=faults))


def _on_store(request: Request, error: Exception) -> Response:
    limit = error.limit if isinstance(error, StoreFull) else None
    level = logging.ERROR if limit is None else logging.WARNING
    wide_event(log, "store.unavailable", level=level, error=type(error).__name__, limit=limit, detail=str(error))
    why = "" if limit is None else f"no room is left ({limit}): "
    return problem_response(
        request,
        Problem(
            "store_unavailable",
            f"{why}nothing of this request was accepted; send it again after the time in Retry-After",
            headers={"Retry-After": str(STORE_RETRY_AFTER_S)},
            extra={} if limit is None else {"limit": limit},
        ),
    )


def _on_crash(request: Request, error: Exception) -> Response:
    log.error("request.failed", exc_info=error)
    # This answer goes out around the guard, which adds the id to every other one.
    headers = {"X-Request-Id": request.scope.get("convey.request_id", "")}
    detail = "the operator's log has the cause under this instance"
    return problem_response(request, Problem("internal_error", detail, headers=headers))


def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it
