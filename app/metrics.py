"""Every metric Convey has: name, labels, buckets and meaning, in one list. Others fill them.

Label sets are closed: destinations, sources, outcomes and reasons, never a caller's own words. Gauges about the
store are set on a timer by the process that works the lanes; where several do, each reports the same, so aggregate
them with `max by (…)` and never sum over processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from app.errors import REASONS, Outcome, Status

M = TypeVar("M", bound=MetricWrapperBase)

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
ATTEMPT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LATENCY_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 259200, 604800)
BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000)

ATTEMPT_RESULTS = (
    "delivered",
    "partial",
    "rejected",
    "split",
    "rate_limited",
    "platform_error",
    "credentials",
    "timeout",
    "network",
)
CONSENT_SIGNALS = (
    "purposes",
    "consent_mode",
    "gcs",
    "gcd",
    "tcf",
    "ac",
    "gpp",
    "us_privacy",
    "onetrust_groups",
    "shopify",
    "gpc",
)
"""The signals a consent may hold; `consent_mode` is the three booleans together."""
CONSENT_DECISIONS = {"queued": (), "limited": (), "denied": REASONS[Outcome.DENIED]}
LANE_STATES = ("running", "paused", "parked", "open")
LEAK_KINDS = ("email", "phone", "card", "iban", "ssn", "person", "secret", "digest", "unscanned")
LEAK_ACTIONS = ("redacted", "dropped", "reported", "rejected")
INGEST_ROUTE = "/v1/events"
"""The route whose answers the accept objective is about."""
SHARED = "Shared by every process of one store: aggregate with max, never with sum."


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric of the list."""

    attribute: str
    kind: type[MetricWrapperBase]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SPECS: tuple[Spec, ...] = (
    Spec(
        "http_requests",
        Counter,
        "convey_http_requests_total",
        "Requests answered, by route template, method and class of status code.",
        ("route", "method", "code"),
    ),
    Spec(
        "http_duration",
        Histogram,
        "convey_http_request_duration_seconds",
        "Time to answer a request.",
        ("route", "method", "code"),
        HTTP_BUCKETS,
    ),
    Spec("events", Counter, "convey_events_total", "Events posted, by what became of them.", ("source", "status")),
    Spec(
        "ingest_outcomes",
        Counter,
        "convey_ingest_outcomes_total",
        "What ingest decided per event and destination. The reason is empty for queued.",
        ("destination", "outcome", "reason"),
    ),
    Spec(
        "consent_decisions",
        Counter,
        "convey_consent_decisions_total",
        "Consent decided for events that were accepted: queued, limited or denied, and why denied.",
        ("destination", "decision", "reason"),
    ),
    Spec(
        "consent_signals",
        Counter,
        "convey_consent_signals_total",
        "Events accepted, by how each consent signal came: valid, absent, or the kind of malformed. `any` absent: "
        "no signal at all.",
        ("signal", "state"),
    ),
    Spec(
        "ledger_queued",
        Gauge,
        "convey_ledger_queued_deliveries",
        f"Deliveries ever queued: what the states of convey_ledger_deliveries add up to. {SHARED}",
        ("destination",),
    ),
    Spec(
        "ledger",
        Gauge,
        "convey_ledger_deliveries",
        f"Where the queued deliveries are, from the store's own counts. {SHARED}",
        ("destination", "state"),
    ),
    Spec(
        "ledger_queued_money",
        Gauge,
        "convey_ledger_queued_money",
        f"Money of the deliveries ever queued, in units of the currency. {SHARED}",
        ("destination", "currency"),
    ),
    Spec(
        "ledger_money",
        Gauge,
        "convey_ledger_money",
        f"Where the queued money is, in units of the currency. {SHARED}",
        ("destination", "state", "currency"),
    ),
    Spec(
        "ledger_difference",
        Gauge,
        "convey_ledger_difference_deliveries",
        "Deliveries by which the ledger's counts of pending and dead differed from what was stored, when last "
        f"checked: anything but 0 is a fault of ours. {SHARED}",
        ("destination",),
    ),
    Spec(
        "ledger_difference_money",
        Gauge,
        "convey_ledger_difference_money",
        f"The same in money, in units of the currency; absent where nothing differed. {SHARED}",
        ("destination", "currency"),
    ),
    Spec(
        "deliveries",
        Counter,
        "convey_deliveries_total",
        "Deliveries settled by this process. The ledger is the truth; this gives the rate.",
        ("destination", "outcome", "reason"),
    ),
    Spec(
        "attempts",
        Counter,
        "convey_delivery_attempts_total",
        "Requests to a platform, by the verdict on the answer.",
        ("destination", "result"),
    ),
    Spec(
        "attempt_duration",
        Histogram,
        "convey_delivery_attempt_duration_seconds",
        "Time from sending a request to a platform to its whole answer.",
        ("destination", "result"),
        ATTEMPT_BUCKETS,
    ),
    Spec(
        "delivery_latency",
        Histogram,
        "convey_delivery_latency_seconds",
        "Time from accepting an event to the platform's word that it took it, the time it was held included.",
        ("destination",),
        LATENCY_BUCKETS,
    ),
    Spec(
        "batch_items",
        Histogram,
        "convey_batch_items",
        "Events in one request to a platform.",
        ("destination",),
        BATCH_BUCKETS,
    ),
    Spec(
        "outbox_entries",
        Gauge,
        "convey_outbox_entries",
        "Pending deliveries that are ready, will be later (waiting, leased, parked), or are held until they are "
        f"released. {SHARED}",
        ("destination", "state"),
    ),
    Spec(
        "outbox_oldest_age",
        Gauge,
        "convey_outbox_oldest_age_seconds",
        "Age of the oldest pending delivery since it was accepted, parked lanes included, held ones left out; 0 when "
        f"none. {SHARED}",
        ("destination",),
    ),
    Spec(
        "outbox_limit_entries",
        Gauge,
        "convey_outbox_limit_entries",
        f"Deliveries that may be pending for a destination; beyond it new events are refused or skipped. {SHARED}",
        ("destination",),
    ),
    Spec(
        "outbox_total_limit_entries",
        Gauge,
        "convey_outbox_total_limit_entries",
        f"Deliveries that may be pending over all destinations; beyond it new events are refused. {SHARED}",
    ),
    Spec(
        "outbox_waiting_bytes",
        Gauge,
        "convey_outbox_waiting_bytes",
        f"Bytes of events pending for a destination, each counted for every destination it waits for. {SHARED}",
        ("destination",),
    ),
    Spec(
        "outbox_waiting_limit_bytes",
        Gauge,
        "convey_outbox_waiting_limit_bytes",
        f"Bytes of events that may be pending for a destination; 0 without a limit. {SHARED}",
        ("destination",),
    ),
    Spec(
        "refused_events",
        Counter,
        "convey_refused_events_total",
        "Events answered with 503 because nothing more could be kept, by the limit that was reached: disk, memory, or "
        "a setting. The caller posts them again.",
        ("limit",),
    ),
    Spec("outbox_bytes", Gauge, "convey_outbox_bytes", f"Bytes the store occupies. {SHARED}"),
    Spec("outbox_limit_bytes", Gauge, "convey_outbox_limit_bytes", f"Bytes it may occupy; 0 without a limit. {SHARED}"),
    Spec(
        "store_vanished",
        Counter,
        "convey_store_vanished_total",
        "Times this process found the data of its store gone (emptied, or an empty replica promoted): work was lost.",
    ),
    Spec(
        "lane_state",
        Gauge,
        "convey_lane_state",
        "1 for the state a lane is in, 0 for the others.",
        ("destination", "state"),
    ),
    Spec(
        "worker_progress",
        Gauge,
        "convey_worker_progress_timestamp_seconds",
        "Unix time at which the lane last went round its loop.",
        ("destination",),
    ),
    Spec(
        "rejected_after_acceptance",
        Counter,
        "convey_rejected_after_acceptance_total",
        "Events a platform took and refused afterwards, by its reason. They stay delivered in the ledger.",
        ("destination", "reason"),
    ),
    Spec(
        "token_expiry",
        Gauge,
        "convey_token_expiry_timestamp_seconds",
        "Unix time at which the OAuth access token in use ends; renewed by itself well before.",
        ("destination",),
    ),
    Spec(
        "leaks",
        Counter,
        "convey_leaks_total",
        "Personal data found outside `user`, by kind and by what became of it.",
        ("source", "kind", "action"),
    ),
    Spec(
        "api_sunset",
        Gauge,
        "convey_api_sunset_timestamp_seconds",
        "Unix time at which the API version in use ends, announced or carefully read when this release was made. No "
        "sample where no end is known.",
        ("destination", "version"),
    ),
    Spec(
        "pairs",
        Counter,
        "convey_pairs_total",
        "Events by what became of their two copies. A pair that a late copy joins counts again, as what it is then.",
        ("source", "event_name", "destination", "verdict"),
    ),
    Spec(
        "platform_match_quality",
        Gauge,
        "convey_platform_match_quality",
        f"How well the platform says it can match the events to people, 0 to 10. {SHARED}",
        ("destination", "event_name"),
    ),
    Spec(
        "platform_event_coverage",
        Gauge,
        "convey_platform_event_coverage_ratio",
        f"Server events as a share of the browser's, as the platform counts. {SHARED}",
        ("destination", "event_name"),
    ),
    Spec(
        "platform_key_coverage",
        Gauge,
        "convey_platform_key_coverage_ratio",
        f"Share of the server's events with an identifier, in the platform's words. {SHARED}",
        ("destination", "event_name", "key"),
    ),
    Spec(
        "platform_dedup_coverage",
        Gauge,
        "convey_platform_dedup_coverage_ratio",
        f"Share of the browser's events whose key the server's copies carry, as the platform counts. {SHARED}",
        ("destination", "event_name", "key"),
    ),
    Spec(
        "platform_quality_status",
        Gauge,
        "convey_platform_quality_status",
        f"1 for the platform's own word for the quality of the events it got. {SHARED}",
        ("destination", "status"),
    ),
    Spec(
        "platform_quality_read",
        Gauge,
        "convey_platform_quality_read_timestamp_seconds",
        f"Unix time at which the platform last said what it thinks of the events it got. {SHARED}",
        ("destination",),
    ),
    Spec(
        "match_keys",
        Counter,
        "convey_match_key_events_total",
        "Events queued that carried a match key of the platform; key `any`: all of them. Counted every few seconds.",
        ("source", "event_name", "destination", "key"),
    ),
    Spec("build_info", Gauge, "convey_build_info", "Always 1; the labels say what runs.", ("version", "revision")),
    Spec(
        "config_info",
        Gauge,
        "convey_config_info",
        "Always 1 for an enabled destination; joins its type to its name.",
        ("destination", "type"),
    ),
)


class Metrics:
    """The metrics of one process, in a registry of their own, with the usual `process_*` beside them."""

    http_requests: Counter
    http_duration: Histogram
    events: Counter
    ingest_outcomes: Counter
    consent_decisions: Counter
    consent_signals: Counter
    ledger_queued: Gauge
    ledger: Gauge
    ledger_queued_money: Gauge
    ledger_money: Gauge
    ledger_difference: Gauge
    ledger_difference_money: Gauge
    deliveries: Counter
    attempts: Counter
    attempt_duration: Histogram
    delivery_latency: Histogram
    batch_items: Histogram
    outbox_entries: Gauge
    outbox_oldest_age: Gauge
    outbox_limit_entries: Gauge
    outbox_total_limit_entries: Gauge
    outbox_waiting_bytes: Gauge
    outbox_waiting_limit_bytes: Gauge
    refused_events: Counter
    outbox_bytes: Gauge
    outbox_limit_bytes: Gauge
    store_vanished: Counter
    lane_state: Gauge
    worker_progress: Gauge
    leaks: Counter
    rejected_after_acceptance: Counter
    token_expiry: Gauge
    api_sunset: Gauge
    pairs: Counter
    platform_match_quality: Gauge
    platform_event_coverage: Gauge
    platform_key_coverage: Gauge
    platform_dedup_coverage: Gauge
    platform_quality_status: Gauge
    platform_quality_read: Gauge
    match_keys: Counter
    build_info: Gauge
    config_info: Gauge

    def __init__(
        self,
        version: str,
        sources: Iterable[str] = (),
        destinations: Iterable[str] = (),
        *,
        revision: str = "unknown",
        types: Mapping[str, str] | None = None,
        works_lanes: bool = True,
    ) -> None:
        """`types` maps each destination to its type, where that is known; `works_lanes` says that they run here."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        for spec in SPECS:
            options: dict[str, Any] = {"buckets": spec.buckets} if spec.buckets else {}
            made = spec.kind(spec.name, spec.help, spec.labels, registry=self.registry, **options)
            setattr(self, spec.attribute, made)
        self.build_info.labels(version, revision).set(1)
        for destination, kind in (types or {}).items():
            self.config_info.labels(destination, kind).set(1)
        self._initialise(tuple(sources), tuple(destinations))
        for destination in destinations if works_lanes else ():
            self.set_lane_state(destination, "running")

    def _initialise(self, sources: Sequence[str], destinations: Sequence[str]) -> None:
        """Give every known child its zero, so that a rate exists before the first error."""
        for code in ("2xx", "4xx", "5xx"):
            self.http_requests.labels(INGEST_ROUTE, "POST", code)
            self.http_duration.labels(INGEST_ROUTE, "POST", code)
        for source in sources:
            for status in Status:
                self.events.labels(source, status)
            for kind in LEAK_KINDS:
                for action in LEAK_ACTIONS:
                    self.leaks.labels(source, kind, action)
        for signal in (*CONSENT_SIGNALS, "any"):
            for state in ("valid", "absent"):
                self.consent_signals.labels(signal, state)
        for destination in destinations:
            for decision, reasons in CONSENT_DECISIONS.items():
                for reason in reasons or ("",):
                    self.consent_decisions.labels(destination, decision, reason)
            for outcome in (Outcome.QUEUED, Outcome.DENIED, Outcome.SKIPPED):
                for reason in REASONS[outcome] or ("",):
                    self.ingest_outcomes.labels(destination, outcome, reason)
            for outcome in (Outcome.DELIVERED, Outcome.DEAD, Outcome.EXPIRED, Outcome.WITHDRAWN):
                for reason in REASONS[outcome] or ("",):
                    self.deliveries.labels(destination, outcome, reason)
            for result in ATTEMPT_RESULTS:
                self.attempts.labels(destination, result)
                self.attempt_duration.labels(destination, result)
            self.delivery_latency.labels(destination)
            self.batch_items.labels(destination)

    def set_lane_state(self, destination: str, state: str) -> None:
        """Say which of the lane states holds; the others become 0."""
        for known in LANE_STATES:
            self.lane_state.labels(destination, known).set(known == state)

    def set_api_sunset(self, destination: str, version: str, sunset: date) -> None:
        """Say on which day the API version a destination uses ends, at its first moment in UTC."""
        at = datetime(sunset.year, sunset.month, sunset.day, tzinfo=UTC).timestamp()
        self.api_sunset.labels(destination, version).set(at)

    def set_token_expiry(self, destination: str, expires_at: datetime) -> None:
        """Say when the access token a destination uses ends."""
        self.token_expiry.labels(destination).set(expires_at.timestamp())
