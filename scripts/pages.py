"""The generated pages about metrics and about the HTTP API."""

from __future__ import annotations

from typing import Any

from app.api import (
    audit,
    contexts,
    dead_letters,
    destinations,
    erasures,
    event_ids,
    events,
    explain,
    health,
    holds,
    ledger,
    match_keys,
    orders,
    privacy,
    proofs,
    receipts,
    rejects,
)
from app.api.problems import TITLES
from app.errors import REASONS
from app.event_names import STANDARD_EVENTS
from app.metrics import SPECS


def metrics_page() -> str:
    """docs/metrics.md: every metric of `app.metrics`."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics` on the metrics port alone (`server.metrics_port`), as OpenMetrics where the scraper asks",
        "for it. Label sets are closed: destinations, sources, outcomes and reasons, never words of a caller. A ledger",
        "that closes reads",
        "",
        "```promql",
        "max by (destination) (convey_ledger_queued_deliveries)",
        "  == sum by (destination) (max by (destination, state) (convey_ledger_deliveries))",
        "```",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for spec in SPECS:
        labels = ", ".join(f"`{label}`" for label in spec.labels) or "–"
        lines.append(f"| `{spec.name}` | {spec.kind.__name__.lower()} | {labels} | {spec.help} |")
    lines += [
        "",
        "Beside them the usual `process_*` of the process: processor time, memory, open files, start.",
        "",
        "The [rules](../helm/convey/files/rules) and [dashboards](dashboards.md) are made of these. Aggregate what is",
        "shared with `max` before anything else.",
    ]
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """docs/api.md: calls, answers, outcomes and problems."""
    lines = [
        "# HTTP API",
        "",
        "`/docs` on a running gateway shows every field and lets you try each call; `/openapi.json` is the description",
        "for tools. Send `Authorization: Bearer <key>`; make a key with `convey keys new`.",
        "",
        "| call | scope | answers | what it does |",
        "|---|---|---|---|",
    ]
    scopes = {
        "postEvents": "ingest",
        "explainEvents": "ingest",
        "getEvent": "read",
        "findEvents": "read",
        "releaseEvent": "ingest",
        "cancelEvent": "ingest",
        "lookUpOrders": "read",
        "listTransactions": "read",
        "exportConsentProofs": "read",
        "mintEventId": "ingest",
        "getEventId": "read",
        "mintEventIds": "ingest",
        "keepContext": "ingest",
        "postBrowserReceipts": "receipts",
        "auditDedup": "read",
        "auditMatchKeys": "read",
        "listRejects": "read",
        "withdraw": "ingest",
        "erase": "admin",
        "showPerson": "admin",
        "listDeadLetters": "read",
        "purgeDeadLetters": "admin",
        "replayDeadLetters": "admin",
        "listDestinations": "read",
        "pauseDestination": "admin",
        "resumeDestination": "admin",
        "getLedger": "read",
        "livez": "–",
        "readyz": "–",
    }
    for module in (
        events,
        holds,
        orders,
        explain,
        event_ids,
        contexts,
        receipts,
        audit,
        match_keys,
        rejects,
        destinations,
        dead_letters,
        ledger,
        privacy,
        erasures,
        proofs,
        health,
    ):
        for route in module.router.routes:
            call: Any = route
            if not call.include_in_schema:
                continue
            (method,) = call.methods
            path = call.path.replace(":path", "")
            answers = call.status_code or 200
            lines.append(f"| `{method} {path}` | {scopes[call.operation_id]} | {answers} | {call.summary} |")
    lines += [
        "",
        'A batch is `{"events": [...]}`, up to 1000. Results come in the order of the events. `status` is',
        "`accepted`, `duplicate` (seen before, nothing new to queue), `conflict` (the id belongs to another",
        "transaction, or the transaction has another id: nothing is queued) or `invalid` (see `errors`; its",
        "neighbours go through).",
        "Which answers to send again: 503 and network errors, with the same body. A repeat is recognised by its id.",
        "`POST /v1/events?bulk=true` is for imports: its events go out in the bulk share, live ones first.",
        "Where no room is left, the 503 names the limit in `limit`: `disk`, `memory`, `store.max_bytes`,",
        "`store.max_waiting`, `destinations.<name>.max_waiting` or `destinations.<name>.max_waiting_bytes`. What was",
        "queued before is still answered, as a duplicate.",
        "",
        "## Standard events",
        "",
        ", ".join(f"`{name}`" for name in STANDARD_EVENTS) + ".",
        "Well-known aliases such as `Order Completed` are mapped, with a warning. Other names are custom events.",
        "",
        "## Outcomes and reasons",
        "",
        "| outcome | reasons |",
        "|---|---|",
    ]
    for outcome, reasons in REASONS.items():
        lines.append(f"| `{outcome}` | {', '.join(f'`{reason}`' for reason in reasons) or '–'} |")
    lines += [
        "",
        "Where several reasons apply at ingest, the first of: not_routed, test_mode_missing, consent,",
        "event_not_supported, in_future or too_old, required_field_missing, identifiers_missing, backlog_full.",
        "",
        "## Problems",
        "",
        "Errors are `application/problem+json` with `type`, `title`, `status`, `detail`, `instance` (the request id,",
        "as in `X-Request-Id` and the log) and `errors`, each with a JSON pointer, a code and words. No answer repeats",
        "a value that was sent.",
        "",
        "| type | status | title |",
        "|---|---|---|",
    ]
    lines += [f"| `urn:convey:problem:{kind}` | {status} | {title} |" for kind, (status, title) in TITLES.items()]
    return "\n".join(lines) + "\n"
