"""What callers post, how they are answered, and what is wrong with it."""

from __future__ import annotations

from scripts.boards.scope import HTTP, D, S, T
from scripts.panels import Board, Panel, R, quantile, share, stat

EDGE = Board(
    "edge",
    "Edge",
    "What callers post, how they are answered, and what is wrong with it.",
    (
        stat(
            "Accept errors, last hour",
            "Share of the valid requests that got no 202 within 250 ms. The objective allows 0.1 % over 30 days.",
            "percentunit",
            f"max(convey:accept_errors:ratio_rate1h{{{T}}})",
            0.001,
        ),
        stat("Requests with events", "POST /v1/events, of any answer.", "reqps",
             f"sum(rate(convey_http_requests_total{{{HTTP}}}[{R}]))"),
        stat("Events", "Events posted, whatever became of them.", "ops",
             f"sum(rate(convey_events_total{{{S}}}[{R}]))"),
        stat("Processes", "Processes of Convey that are scraped.", "short", f"count(convey_build_info{{{T}}})"),
        Panel(
            "Requests by answer",
            "2xx accepted; 4xx a caller's mistake; 5xx nothing was kept, the caller must post again.",
            "reqps",
            {"{{code}}": f"sum by (code) (rate(convey_http_requests_total{{{HTTP}}}[{R}]))"},
        ),
        Panel(
            "Time to answer",
            "From the first byte of the request to the last of the answer, with what the disk or Redis takes to make "
            "the event durable. The objective is 250 ms. Exemplars lead to the caller's trace.",
            "s",
            {
                "p50": quantile(0.5, f'convey_http_request_duration_seconds_bucket{{{HTTP},code="2xx"}}'),
                "p99": quantile(0.99, f'convey_http_request_duration_seconds_bucket{{{HTTP},code="2xx"}}'),
            },
            0.25,
        ),
        Panel(
            "Events by status",
            "accepted is kept; duplicate was known already; conflict has the id of another order; invalid cannot be "
            "taken. All four come in requests answered 202.",
            "ops",
            {"{{status}}": f"sum by (status) (rate(convey_events_total{{{S}}}[{R}]))"},
            is_stacked=True,
        ),
        Panel(
            "Invalid events by source",
            "Share of a source's events that cannot be taken. The caller's answers say why.",
            "percentunit",
            {"{{source}}": share(
                f'sum by (source) (rate(convey_events_total{{{S},status="invalid"}}[{R}]))',
                f"sum by (source) (rate(convey_events_total{{{S}}}[{R}]))",
            )},
            0.01,
        ),
        Panel(
            "Skipped at the door",
            "Events that a destination could not use, by reason.",
            "ops",
            {"{{destination}} {{reason}}": "sum by (destination, reason) "
             f'(rate(convey_ingest_outcomes_total{{{D},outcome="skipped"}}[{R}])) > 0'},
        ),
        Panel(
            "Personal data in the wrong place",
            "What the leak guard found outside user, per hour, and what it did about it.",
            "short",
            {"{{source}} {{kind}} {{action}}": "sum by (source, kind, action) "
             f"(increase(convey_leaks_total{{{S}}}[1h])) > 0"},
        ),
        Panel(
            "Every route",
            "Requests by route, the probes of Kubernetes among them.",
            "reqps",
            {"{{method}} {{route}} {{code}}": "sum by (route, method, code) "
             f"(rate(convey_http_requests_total{{{T}}}[{R}])) > 0"},
        ),
        Panel(
            "Versions",
            "Processes by version and revision: two during an upgrade, one otherwise.",
            "short",
            {"{{version}} {{revision}}": f"count by (version, revision) (convey_build_info{{{T}}})"},
        ),
    ),
)  # fmt: skip
