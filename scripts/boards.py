"""What is on the dashboards: boards, panels, queries. `scripts.dashboards` makes Grafana's JSON of them."""

from __future__ import annotations

from scripts.panels import Board, Panel, R, quantile, share, stat

T = 'namespace=~"$namespace",job=~"$job"'
D = f'{T},destination=~"$destination"'
S = f'{T},source=~"$source"'
HTTP = f'route="/v1/events",method="POST",{T}'

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

LANES = Board(
    "lanes",
    "Lanes",
    "One lane per destination: what waits, how the platform answers, how late deliveries are.",
    (
        stat("Oldest delivery", "Age of the oldest delivery that has not come to an end, in any lane.", "s",
             f"max(convey:outbox_age:seconds{{{D}}})", 300),
        stat("Late deliveries, last hour", "Share that took longer than 5 minutes or never arrived, in the worst lane. "
             "The objective allows 1 % over 30 days.", "percentunit",
             f"max(convey:freshness_errors:ratio_rate1h{{{D}}})", 0.01),
        stat("Lanes not running", "Paused by a person, parked on credentials, or open after failures.", "short",
             f'sum(max by (destination) (convey_lane_state{{{D},state!="running"}}))', 1),
        stat("Dead letters", "Kept for a person to look at: convey dead-letters list.", "short",
             f'sum(max by (destination) (convey_ledger_deliveries{{{D},state="dead"}}))'),
        Panel(
            "Oldest delivery by lane",
            "The alarm signal: it grows whatever the cause, and paused and parked lanes are in it.",
            "s",
            {"{{destination}}": f"max by (destination) (convey_outbox_oldest_age_seconds{{{D}}})"},
            300,
        ),
        Panel(
            "Waiting deliveries",
            "ready may go now; later waits for a retry or is under way.",
            "short",
            {"{{destination}} {{state}}": f"max by (destination, state) (convey_outbox_entries{{{D}}})"},
            is_stacked=True,
        ),
        Panel(
            "Lanes by state",
            "1 while a lane is paused, parked or open; nothing where it runs.",
            "short",
            {"{{destination}} {{state}}": "max by (destination, state) "
             f'(convey_lane_state{{{D},state!="running"}}) > 0'},
        ),
        Panel(
            "Settled deliveries",
            "Final outcomes, by destination.",
            "ops",
            {"{{destination}} {{outcome}}": "sum by (destination, outcome) "
             f"(rate(convey_deliveries_total{{{D}}}[{R}])) > 0"},
            is_stacked=True,
        ),
        Panel(
            "Requests to platforms, by verdict",
            "The verdict comes from the platform's body. delivered took all, partial some; split is a batch taken "
            "apart to find the culprit; credentials parks the lane.",
            "reqps",
            {"{{destination}} {{result}}": "sum by (destination, result) "
             f"(rate(convey_delivery_attempts_total{{{D}}}[{R}])) > 0"},
        ),
        Panel(
            "Failed requests to platforms",
            "Share of the requests that brought no delivery.",
            "percentunit",
            {"{{destination}}": f"max by (destination) (convey:delivery_errors:ratio_rate5m{{{D}}})"},
        ),
        Panel(
            "Time of a request to a platform",
            "From sending to the whole answer. Timeouts end at the destination's timeout, 10 s unless set.",
            "s",
            {
                "{{destination}} p50": quantile(
                    0.5, f"convey_delivery_attempt_duration_seconds_bucket{{{D}}}", "destination"),
                "{{destination}} p99": quantile(
                    0.99, f"convey_delivery_attempt_duration_seconds_bucket{{{D}}}", "destination"),
            },
        ),
        Panel(
            "From accepted to delivered",
            "What a marketer feels: 99 % within 5 minutes is the objective.",
            "s",
            {
                "{{destination}} p50": quantile(0.5, f"convey_delivery_latency_seconds_bucket{{{D}}}", "destination"),
                "{{destination}} p99": quantile(0.99, f"convey_delivery_latency_seconds_bucket{{{D}}}", "destination"),
            },
            300,
        ),
        Panel(
            "Why deliveries ended undelivered",
            "dead is kept as a dead letter; expired is what no longer could be paired or sent. Per hour.",
            "short",
            {"{{destination}} {{outcome}} {{reason}}": "sum by (destination, outcome, reason) "
             f'(increase(convey_deliveries_total{{{D},outcome!="delivered"}}[1h])) > 0'},
        ),
        Panel(
            "Events in a request",
            "Mean size of a batch: near 1 means that batching does not work, or that little happens.",
            "short",
            {"{{destination}}": share(
                f"sum by (destination) (rate(convey_batch_items_sum{{{D}}}[{R}]))",
                f"sum by (destination) (rate(convey_batch_items_count{{{D}}}[{R}]))",
            )},
        ),
    ),
)  # fmt: skip

CONSENT = Board(
    "consent",
    "Consent and match quality",
    "What the consent policy let through, what it held back, and why.",
    (
        stat("Denied now", "Share of the events that may not go, over 30 minutes, at the strictest destination.",
             "percentunit", f"max(convey:consent_denied:ratio_rate30m{{{D}}})"),
        stat("Denied a day ago", "The same a day ago: a jump usually follows a release.", "percentunit",
             f"max(convey:consent_denied:ratio_rate30m{{{D}}} offset 1d)"),
        stat("Without any signal", "Share of the events that say nothing about consent.", "percentunit",
             share(f'sum(rate(convey_ingest_outcomes_total{{{D},outcome="denied",reason="consent_missing"}}[30m]))',
                   f"sum(rate(convey_ingest_outcomes_total{{{D}}}[30m]))"), 0.1),
        stat("Malformed signals", "Share of the events whose consent signal cannot be read.", "percentunit",
             share(f'sum(rate(convey_ingest_outcomes_total{{{D},outcome="denied",reason="signal_malformed"}}[30m]))',
                   f"sum(rate(convey_ingest_outcomes_total{{{D}}}[30m]))"), 0.01),
        Panel(
            "Decided at the door",
            "queued goes out, denied may not, skipped cannot.",
            "ops",
            {"{{destination}} {{outcome}}": "sum by (destination, outcome) "
             f"(rate(convey_ingest_outcomes_total{{{D}}}[{R}]))"},
            is_stacked=True,
        ),
        Panel(
            "Why events were denied",
            "The reason codes of the consent policy.",
            "ops",
            {"{{destination}} {{reason}}": "sum by (destination, reason) "
             f'(rate(convey_ingest_outcomes_total{{{D},outcome="denied"}}[{R}])) > 0'},
            is_stacked=True,
        ),
        Panel(
            "Denied, now and a day ago",
            "Share of the events that may not go, by destination.",
            "percentunit",
            {
                "{{destination}} now": f"max by (destination) (convey:consent_denied:ratio_rate30m{{{D}}})",
                "{{destination}} a day ago":
                    f"max by (destination) (convey:consent_denied:ratio_rate30m{{{D}}} offset 1d)",
            },
        ),
        Panel(
            "Without usable identifiers",
            "Share of the events that a destination skipped as nothing in them could be matched.",
            "percentunit",
            {"{{destination}}": share(
                "sum by (destination) (rate(convey_ingest_outcomes_total"
                f'{{{D},outcome="skipped",reason="identifiers_missing"}}[{R}]))',
                f"sum by (destination) (rate(convey_ingest_outcomes_total{{{D}}}[{R}]))",
            )},
            0.05,
        ),
    ),
)  # fmt: skip

DEDUP = Board(
    "dedup",
    "Deduplication and the ledger",
    "Ids used twice, and whether everything that was queued is accounted for.",
    (
        stat("Ledger mismatch", "Deliveries that the states do not account for. Anything but 0 is a fault of ours.",
             "short", "max(abs(convey_ledger_queued_deliveries"
             f"{{{D}}} - sum without (state) (convey_ledger_deliveries{{{D}}})))", 1),
        stat("Conflicts, last hour", "Events under the id of another order: not queued, as they would vanish or count "
             "twice.", "short", f'sum(increase(convey_events_total{{{S},status="conflict"}}[1h]))', 1),
        stat("Duplicates", "Share of the events that were known already: callers that post again.", "percentunit",
             share(f'sum(rate(convey_events_total{{{S},status="duplicate"}}[1h]))',
                   f"sum(rate(convey_events_total{{{S}}}[1h]))")),
        stat("Outcome unknown, last hour", "An answer was lost where a repeat could count twice: ended dead instead.",
             "short",
             f'sum(increase(convey_deliveries_total{{{D},outcome="dead",reason="outcome_unknown"}}[1h]))', 1),
        Panel(
            "Duplicates and conflicts by source",
            "Duplicates are harmless. Conflicts are orders that nobody counts.",
            "ops",
            {"{{source}} {{status}}": "sum by (source, status) "
             f'(rate(convey_events_total{{{S},status=~"duplicate|conflict"}}[{R}]))'},
        ),
        Panel(
            "The ledger, in deliveries",
            "Where everything ever queued is now. The states add up to what was queued.",
            "short",
            {"{{state}}": f"sum by (state) (max by (destination, state) (convey_ledger_deliveries{{{D}}}))"},
            is_stacked=True,
        ),
        Panel(
            "The ledger, in money",
            "The same in each currency, summed over destinations: an order that goes to three counts three times.",
            "short",
            {"{{currency}} {{state}}": "sum by (currency, state) "
             f"(max by (destination, currency, state) (convey_ledger_money{{{D}}})) > 0"},
        ),
        Panel(
            "Unaccounted for",
            "Queued less the sum of the states, by destination.",
            "short",
            {"{{destination}}": "max by (destination) (abs(convey_ledger_queued_deliveries"
             f"{{{D}}} - sum without (state) (convey_ledger_deliveries{{{D}}})))"},
            1,
        ),
        Panel(
            "Money that ended undelivered",
            "Dead and expired, by destination and currency.",
            "short",
            {"{{destination}} {{state}} {{currency}}": "max by (destination, state, currency) "
             f'(convey_ledger_money{{{D},state=~"dead|expired"}}) > 0'},
        ),
        Panel(
            "Expired deliveries",
            "Per hour. dedup_window_passed: too late to be paired with the pixel's copy.",
            "short",
            {"{{destination}} {{reason}}": "sum by (destination, reason) "
             f'(increase(convey_deliveries_total{{{D},outcome="expired"}}[1h])) > 0'},
        ),
    ),
)  # fmt: skip

SATURATION = Board(
    "saturation",
    "Saturation",
    "How much room is left: in the store, in the lanes, in the processes.",
    (
        stat("Store", "Bytes the store occupies.", "bytes", f"max(convey_outbox_bytes{{{T}}})"),
        stat("Room left", "Share of the limit that is free; empty where there is no limit.", "percentunit",
             f"1 - max(convey_outbox_bytes{{{T}}}) / max(convey_outbox_limit_bytes{{{T}}} > 0)"),
        stat("Waiting deliveries", "Everything that has not come to an end.", "short",
             f"sum(max by (destination, state) (convey_outbox_entries{{{T}}}))"),
        stat("Busiest process", "Processor time per second of the busiest process. One process uses one core.",
             "percentunit", f"max(rate(process_cpu_seconds_total{{{T}}}[{R}]))", 0.9),
        Panel(
            "Store size and limit",
            "Beyond the limit new events are answered 503.",
            "bytes",
            {
                "size": f"max(convey_outbox_bytes{{{T}}})",
                "limit": f"max(convey_outbox_limit_bytes{{{T}}} > 0)",
            },
        ),
        Panel(
            "Room of each destination",
            "Share of what may wait for a destination, by number and by size.",
            "percentunit",
            {
                "{{destination}} deliveries": "sum by (destination) (max by (destination, state) "
                f"(convey_outbox_entries{{{T}}})) "
                f"/ max by (destination) (convey_outbox_limit_entries{{{T}}} > 0)",
                "{{destination}} bytes": f"max by (destination) (convey_outbox_waiting_bytes{{{T}}}) "
                f"/ max by (destination) (convey_outbox_waiting_limit_bytes{{{T}}} > 0)",
                "all deliveries": f"sum(max by (destination, state) (convey_outbox_entries{{{T}}})) "
                f"/ max(convey_outbox_total_limit_entries{{{T}}} > 0)",
            },
            0.8,
        ),
        Panel(
            "Events refused",
            "Answered 503 because nothing more could be kept, by the limit that was reached. Callers post them again.",
            "ops",
            {"{{limit}}": f"sum by (limit) (rate(convey_refused_events_total{{{T}}}[{R}]))"},
        ),
        Panel(
            "Accepted and delivered",
            "While more is queued than settled, the backlog grows.",
            "ops",
            {
                "queued": f'sum(rate(convey_ingest_outcomes_total{{{T},outcome="queued"}}[{R}]))',
                "settled": f"sum(rate(convey_deliveries_total{{{T}}}[{R}]))",
            },
        ),
        Panel(
            "Processor time",
            "Cores used by each process.",
            "percentunit",
            {"{{pod}}{{instance}}": f"rate(process_cpu_seconds_total{{{T}}}[{R}])"},
            0.9,
        ),
        Panel(
            "Memory",
            "Resident memory of each process. It must not follow the backlog.",
            "bytes",
            {"{{pod}}{{instance}}": f"process_resident_memory_bytes{{{T}}}"},
        ),
        Panel(
            "Open files",
            "Share of the file descriptors a process may have: connections of callers and to platforms.",
            "percentunit",
            {"{{pod}}{{instance}}": f"process_open_fds{{{T}}} / process_max_fds{{{T}}}"},
            0.8,
        ),
        Panel(
            "Time left of access tokens",
            "OAuth access tokens are renewed well before they end.",
            "s",
            {"{{destination}}":
             f"max by (destination) (convey_token_expiry_timestamp_seconds{{{T}}} > 0) - time()"},
        ),
        Panel(
            "Stores found empty",
            "Times a process found the data of its store gone, per hour. Anything but 0 is lost work.",
            "short",
            {"found empty": f"sum(increase(convey_store_vanished_total{{{T}}}[1h]))"},
            1,
        ),
        Panel(
            "Lanes' last turn",
            "Seconds since each lane went round its loop.",
            "s",
            {"{{destination}}":
             f"time() - max by (destination) (convey_worker_progress_timestamp_seconds{{{T}}})"},
            120,
        ),
    ),
)  # fmt: skip

BOARDS = (EDGE, LANES, CONSENT, DEDUP, SATURATION)
