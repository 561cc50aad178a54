"""Query parameters read as a model: an unknown one is refused, so that a slip of the pen is not taken for "all"."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from app.api.guards import Principal
from app.api.parse import faults_of
from app.api.problems import Problem

M = TypeVar("M", bound=BaseModel)


def parameters(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a model as query parameters of the OpenAPI description."""
    fields = model.model_json_schema()["properties"]
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": schema.pop("description", ""),
                "schema": schema,
            }
            for name, schema in fields.items()
        ]
    }


def read_query(model: type[M], request: Request) -> M:
    """The query parameters of a request; `model` forbids what it does not know.

    Raises: Problem 400.
    """
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise Problem("invalid_parameter", "see errors", errors=faults_of(error)) from None


def source_meant(principal: Principal, asked: str | None) -> str | None:
    """The source whose audit a key may see: its own; with the scope `admin` the one asked for, or None for all.

    Raises: Problem 403.
    """
    is_admin = "admin" in principal.scopes
    if asked is not None and asked != principal.source and not is_admin:
        raise Problem("forbidden", "another source's audit needs a key with the scope `admin`")
    return asked if asked is not None or is_admin else principal.source
