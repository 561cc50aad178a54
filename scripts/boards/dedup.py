"""Ids, pairs, and the ledger."""

from __future__ import annotations

from scripts.boards.scope import D, S
from scripts.panels import Board, Panel, R, share, stat

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
            "Share of events that meet their pixel's copy",
            "Over 6 hours, for sources whose pages report what their pixel fired. What does not meet counts twice.",
            "percentunit",
            {"{{source}} {{event_name}} {{destination}}": "max by (source, event_name, destination) "
             f"(convey:pairs_paired:ratio_rate6h{{{S}}})"},
        ),
        Panel(
            "What became of the two copies",
            "server_only: no pixel copy was reported; browser_only: the backend never posted it. Per hour.",
            "short",
            {"{{destination}} {{verdict}}": "sum by (destination, verdict) "
             f"(increase(convey_pairs_total{{{S}}}[1h])) > 0"},
        ),
        Panel(
            "Copies the platforms say they can pair",
            "Share of the browser's events whose id the server's copies carry, as Meta and Pinterest count; only where "
            "quality_every is set.",
            "percentunit",
            {"{{destination}} {{event_name}} {{key}}": "max by (destination, event_name, key) "
             f'(convey_platform_dedup_coverage_ratio{{{D},key=~".*event_id"}})'},
        ),
        Panel(
            "Ledger against the store",
            "Deliveries by which the ledger's counts differed from what is stored, when last checked.",
            "short",
            {"{{destination}}": "max by (destination) "
             f"(abs(convey_ledger_difference_deliveries{{{D}}}))"},
            1,
        ),
        Panel(
            "Ledger against the store, in money",
            "The same in money; empty where nothing differs.",
            "short",
            {"{{destination}} {{currency}}": "max by (destination, currency) "
             f"(abs(convey_ledger_difference_money{{{D}}}))"},
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
