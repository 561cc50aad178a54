"""The one table of what is kept: where, what it says of a person, for how long, and what ends it.

`docs/consent.md` is made from it. Every table and every kind of key of a store is in it, and every row that ends by
itself is tested to end, in both engines, with a moved clock (`tests/retention`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app.dedup.port import PAIR_RETENTION, TALLIES_KEPT
from app.outbox.aftermath import REFUSAL_KEPT
from app.outbox.expiry import KEPT_FOR as DATA_KEYS_KEPT
from app.outbox.tallies import KEPT_FOR as TALLIES_BY_BOOK
from app.outbox.tallies import MATCH_KEYS, REJECTS
from app.withdrawal import KEPT_FOR as WITHDRAWALS_KEPT


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of thing that is kept.

    `tables` are those of SQLite; `keys` the kinds of key on Redis: what follows the partition's tag, or `meta:` and
    what follows that one's. `holds` says what it has about a person, None for nothing. `how_long` is in words, with
    {span} for what `setting` (its path in the configuration) or else `span` says. `ended_by` is None for what stays as
    long as the store.
    """

    name: str
    tables: tuple[str, ...]
    keys: tuple[str, ...]
    holds: str | None
    how_long: str
    ended_by: str | None
    setting: str | None = None
    span: timedelta | None = None
    is_sealed: bool = False


ROWS = (
    Row(
        "hashed events",
        ("bodies",),
        ("b",),
        "hashed identifiers; IP address, user agent, click and browser ids as they are; basket, URLs, properties; "
        "keyed digests of the person",
        "until the event's last delivery is settled, or its dead letter purged. What waits ends by the platform's age "
        "window (`destinations[].max_age` and the like)",
        "settling and purging delete it in the same step",
        is_sealed=True,
    ),
    Row(
        "dead letters",
        ("deliveries",),
        ("x",),
        "the hashed event above; the platform's words, scrubbed",
        "until it is replayed or purged, {span} at most",
        "the sweep purges it; the ledger keeps its count",
        setting="store.dead_letter_retention",
    ),
    Row(
        "what waits",
        ("deliveries",),
        ("r", "s"),
        None,
        "until the delivery is settled",
        "settling",
    ),
    Row(
        "the fate of events",
        ("events", "deliveries"),
        ("e", "l"),
        "event_id, transaction id, occurrence, money, outcomes, reasons, the platform's words and trace ids; marks of "
        "the person: 8 bytes of each keyed digest",
        "{span} after the last delivery was settled, and as long as the id is remembered",
        "the sweep",
        setting="store.journal_retention",
    ),
    Row(
        "remembered ids",
        ("events",),
        ("i", "t"),
        "event_id and transaction id; digests of them once the fate is forgotten (Redis) or the event was erased",
        "{span} after it was accepted, of a held one after the last instant it could be released, and until its last "
        "delivery is settled",
        "the sweep",
        setting="sources[].dedup_window",
    ),
    Row(
        "ids handed out before the order",
        ("minted",),
        ("i", "t"),
        "event_id and transaction id",
        "{span} from the event's time, or when it was handed out",
        "the sweep",
        setting="sources[].dedup_window",
    ),
    Row(
        "contexts of orders",
        ("contexts",),
        ("c",),
        "click and browser ids, IP address, user agent, URLs and the consent, as posted",
        "{span} from when it was posted",
        "the sweep; on Redis the server",
        setting="sources[].context_retention",
        is_sealed=True,
    ),
    Row(
        "proofs of consent decisions",
        ("proofs",),
        ("j",),
        "event_id; which signals came and what was decided, no identifier; consent strings as keyed digests",
        "{span} from the decision; on Redis to the end of that day",
        "the sweep; on Redis the server",
        setting="consent.proof_retention",
    ),
    Row(
        "which sides reported an event",
        ("pairs", "sightings"),
        ("w", "wd"),
        "event_id, transaction id, value and currency",
        "{span} from the first report",
        "the sweep; on Redis the server",
        span=PAIR_RETENTION,
    ),
    Row(
        "counts of pairs by day",
        ("tallies",),
        ("wt",),
        None,
        "{span} from that day",
        "the sweep",
        span=TALLIES_KEPT,
    ),
    Row(
        "counts of match keys by day",
        ("day_tallies",),
        ("meta:tallies",),
        None,
        "{span} from the end of that day",
        "the sweep; on Redis the server",
        span=TALLIES_BY_BOOK[MATCH_KEYS],
    ),
    Row(
        "counts of invalid events by day",
        ("day_tallies",),
        ("meta:tallies",),
        None,
        "{span} from the end of that day",
        "the sweep; on Redis the server",
        span=TALLIES_BY_BOOK[REJECTS],
    ),
    Row(
        "withdrawals and erasures",
        ("memos",),
        ("c",),
        "keyed digests of the person's identifiers, and when",
        "{span} from the withdrawal",
        "the sweep; on Redis the server",
        span=WITHDRAWALS_KEPT,
    ),
    Row(
        "requests to ask about later",
        ("memos",),
        ("meta:due", "meta:memos"),
        "event_ids and transaction ids of one request",
        "{span} from the request (Google)",
        "an answer, or the sweep",
        span=timedelta(days=6),
    ),
    Row(
        "refused after acceptance",
        ("memos",),
        ("c",),
        "a digest of source, event name and event_id; why",
        "{span} from the refusal",
        "the sweep; on Redis the server",
        span=REFUSAL_KEPT,
    ),
    Row(
        "conversions that can be adjusted",
        ("memos",),
        ("c",),
        "a digest of source and transaction; money, event_ids of refunds",
        "{span} from the delivery (Google)",
        "the sweep; on Redis the server",
        setting="destinations[].adjustment_window",
    ),
    Row(
        "data keys",
        ("meta",),
        ("meta:datakeys",),
        None,
        "as long as anything that waits or is a dead letter may be sealed under them, {span} at least",
        "the sweep",
        span=DATA_KEYS_KEPT,
    ),
    Row(
        "failovers",
        (),
        ("meta:failovers",),
        "event_ids that were told again",
        "the latest 100, and {span} after the last of them",
        "the server",
        span=timedelta(days=30),
    ),
    Row(
        "the ledger",
        ("counts",),
        ("n",),
        None,
        "as long as the store: sums by destination, state and currency",
        None,
    ),
    Row(
        "notes of the lanes",
        ("lane_book",),
        ("meta:book",),
        None,
        "pauses until they are lifted, and what lanes share until it is replaced",
        None,
    ),
    Row(
        "the store's own facts and secrets",
        ("meta", "lanes", "queues"),
        ("", "k", "o", "meta:", "meta:sources", "meta:destinations", "meta:probe"),
        None,
        "as long as the store: names, version, the secrets of the keyed digests",
        None,
    ),
)
"""What a store keeps. Beside it: logs, metrics and memory, as `docs/consent.md` says."""
