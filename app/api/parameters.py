"""Query parameters nobody knows are refused where something is read: a slip of the pen would be answered with all."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.routing import APIRoute

from app.api.parse import shown_key
from app.api.problems import Problem
from app.errors import Fault


def refuse_unknown_parameters(request: Request) -> None:
    """Nothing, where the route describes every query parameter of the request.

    Raises: Problem 400 with a pointer to each that it does not describe.
    """
    if not request.query_params:
        return
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = set(_names(route))
    if unknown := request.query_params.keys() - known:
        words = f"is not a parameter of this call; it takes {', '.join(sorted(known)) or 'none'}"
        pointers = sorted({f"/{shown_key(name)}" for name in unknown})
        raise Problem(
            "invalid_parameter", "see errors", errors=[Fault(each, "unknown_field", words) for each in pointers]
        )


def _names(route: APIRoute) -> Iterator[str]:
    """Those declared to FastAPI, and those a handler reads itself, which the description has as well."""
    yield from (field.alias for field in route.dependant.query_params)
    for parameter in (route.openapi_extra or {}).get("parameters", ()):
        if parameter["in"] == "query":
            yield parameter["name"]
