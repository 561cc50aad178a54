"""JSON lines on stdout: one wide event per request and per batch attempt, made of known fields only.

A field whose name is not in `FIELDS` is dropped and only its name is told; a message is never filled with its
arguments, and an exception is its type and the places it passed. So a value nobody thought of cannot be logged.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import IO, Any

import orjson

FIELDS = frozenset(
    {
        # one request
        "request_id",
        "trace_id",
        "method",
        "route",
        "code",
        "problem",
        "source",
        "key_name",
        "body_bytes",
        "duration_ms",
        "events",
        "accepted",
        "duplicate",
        "conflict",
        "invalid",
        "queued",
        "denied",
        "skipped",
        # one batch attempt, one lane
        "destination",
        "type",
        "items",
        "calls",
        "attempt",
        "verdict",
        "http_status",
        "bytes",
        "event_id",
        "event_ids",
        "outcome",
        "reason",
        "detail",
        "limit",
        "state",
        "currency",
        "counted",
        "stored",
        "deliveries",
        "unread",
        "differences",
        "delivered",
        "refused",
        "rejected",
        "retrying",
        "dead",
        "expired",
        "withdrawn",
        "erased",
        "pending",
        "split",
        "retry_after_s",
        "ready_at",
        "oldest_age_s",
        # the process and its store
        "version",
        "python",
        "role",
        "host",
        "port",
        "metrics_host",
        "metrics_port",
        "config",
        "pointer",
        "durability",
        "schema_version",
        "size_bytes",
        "limit_bytes",
        "swept",
        "signal",
        "error",
        "count",
        "offered",
        "restored",
        "settled",
        "unkept",
    }
)
"""Every field name a log line may have. Ids and counts; never an identifier of a person, never a secret."""

MAX_TEXT = 500
_OWN = ("app", "convey")
_CHATTY = ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "asyncio")
"""Loggers whose lines below WARNING hold URLs with their query, or say nothing without their arguments."""


class JsonFormatter(logging.Formatter):
    """Renders a record as one line: time, level, logger, event, and the allowed fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
        }
        fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
        line.update((name, _plain(value)) for name, value in fields.items() if name in FIELDS)
        if dropped := sorted(name for name in fields if name not in FIELDS):
            line["dropped_fields"] = dropped
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _exception(record.exc_info[1])
        return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS).decode()


def wide_event(logger: logging.Logger, event: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log one line named `event` with `fields`; those not in `FIELDS` are dropped."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


def configure(level: str, stream: IO[str] | None = None) -> None:
    """Send every log line of the process to `stream` (stdout when None) as JSON, from `level` up."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _event(record: logging.LogRecord) -> str:
    """The message as its author wrote it: arguments left out, and of other people's only the first line."""
    message = str(record.msg)
    if record.name.split(".")[0] not in _OWN:
        message = message.strip().split("\n", 1)[0]
    return message[:MAX_TEXT]


def _exception(error: BaseException) -> dict[str, Any]:
    """The type of an exception, where it passed, and the same of its cause: never its message."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    told: dict[str, Any] = {
        "type": type(error).__name__,
        "frames": [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, BaseExceptionGroup):
        told["exceptions"] = [_exception(part) for part in error.exceptions[:5]]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and cause is not error:
        told["cause"] = _exception(cause)
    return told


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it; of an object nobody foresaw, only the name of its type."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**53) < value < 2**53 else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()[:MAX_TEXT]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return f"<{type(value).__name__}>"
