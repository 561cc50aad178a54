"""What waits for each platform, and how the platforms answer."""

from __future__ import annotations

from scripts.boards.scope import D
from scripts.panels import Board, Panel, R, quantile, share, stat

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
            "Refused after acceptance",
            "Events that a platform took and refused later, by its reason, per hour. The ledger has them as delivered.",
            "short",
            {"{{destination}} {{reason}}": "sum by (destination, reason) "
             f"(increase(convey_rejected_after_acceptance_total{{{D}}}[1h])) > 0"},
        ),
        Panel(
            "Time left of API versions",
            "Until the version in use ends; empty where no end is known.",
            "s",
            {"{{destination}} {{version}}": "min by (destination, version) "
             f"(convey_api_sunset_timestamp_seconds{{{D}}}) - time()"},
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
