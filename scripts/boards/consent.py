"""What the consent policy lets through, and why not the rest."""

from __future__ import annotations

from scripts.boards.scope import D, T
from scripts.panels import Board, Panel, R, share, stat

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
             f"max(convey:consent_signals_missing:ratio_rate30m{{{T}}})", 0.1),
        stat("Denied for malformed signals", "Share of the decisions that failed as a signal cannot be read.",
             "percentunit",
             share(f'sum(rate(convey_consent_decisions_total{{{D},reason="signal_malformed"}}[30m]))',
                   f"sum(rate(convey_consent_decisions_total{{{D}}}[30m]))"), 0.01),
        Panel(
            "Decided by consent",
            "queued may go; limited may go with the platform's restriction flag; denied may not.",
            "ops",
            {"{{destination}} {{decision}}": "sum by (destination, decision) "
             f"(rate(convey_consent_decisions_total{{{D}}}[{R}]))"},
            is_stacked=True,
        ),
        Panel(
            "Why events were denied",
            "The reason codes of the consent policy.",
            "ops",
            {"{{destination}} {{reason}}": "sum by (destination, reason) "
             f'(rate(convey_consent_decisions_total{{{D},decision="denied"}}[{R}])) > 0'},
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
            "Signals that came",
            "Which kinds of consent signals events carry, and which cannot be read.",
            "ops",
            {"{{signal}} {{state}}": "sum by (signal, state) "
             f'(rate(convey_consent_signals_total{{{T},state!="absent"}}[{R}])) > 0'},
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
        Panel(
            "Match keys that events carry",
            "Share of the queued events that carry each identifier the platform matches by, over 6 hours.",
            "percentunit",
            {"{{source}} {{event_name}} {{destination}} {{key}}":
             "max by (source, event_name, destination, key) "
             f'(convey:match_keys:ratio_rate6h{{{D},source=~"$source"}})'},
        ),
        Panel(
            "Match keys, change in a day",
            "How far the share of events that carry an identifier moved since a day ago. Below zero: it fell.",
            "percentunit",
            {"{{source}} {{event_name}} {{destination}} {{key}}":
             "max by (source, event_name, destination, key) "
             f'(convey:match_keys:ratio_rate6h{{{D},source=~"$source"}} - '
             f'convey:match_keys:ratio_rate6h{{{D},source=~"$source"}} offset 1d)'},
        ),
        Panel(
            "Match quality, in the platform's words",
            "Meta's score from 0 to 10; only where quality_every is set.",
            "short",
            {"{{destination}} {{event_name}}": "max by (destination, event_name) "
             f"(convey_platform_match_quality{{{D}}})"},
        ),
        Panel(
            "Identifiers, as the platforms count them",
            "The least covered identifiers of all events; only where quality_every is set.",
            "percentunit",
            {"{{destination}} {{key}}": "bottomk(10, min by (destination, key) "
             f"(convey_platform_key_coverage_ratio{{{D}}}))"},
        ),
        Panel(
            "At the door",
            "queued goes out; denied may not; skipped is of no use to the destination.",
            "ops",
            {"{{destination}} {{outcome}}": "sum by (destination, outcome) "
             f"(rate(convey_ingest_outcomes_total{{{D}}}[{R}]))"},
            is_stacked=True,
        ),
    ),
)  # fmt: skip
