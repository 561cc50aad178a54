"""JSON bodies that handlers read by hand, and what the description says of them."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response

from app.api.problems import Problem


def body_of(model: str, example: dict[str, Any], *, is_required: bool = True) -> dict[str, Any]:
    """What the description says of a request body; `model` is the name of its schema."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model}"}, "example": example}
    return {"requestBody": {"required": is_required, "content": {"application/json": schema}}}


def read_json(body: bytes) -> Any:
    """The JSON document in a body.

    Raises: Problem 400.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem("unreadable_body", "the body is not valid JSON") from None


def json_response(body: Any) -> Response:
    """A JSON answer with status 200."""
    return Response(orjson.dumps(body), media_type="application/json")
