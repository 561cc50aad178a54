"""How much room is left."""

from __future__ import annotations

from scripts.boards.scope import T
from scripts.panels import Board, Panel, R, stat

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
