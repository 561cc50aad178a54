"""The tables of the SQLite engine, and the version they carry.

    meta          name -> value: schema version, kept secrets, wrapped data keys
    lanes         id <-> destination name, so that a row holds a small integer
    queues        id <-> (lane, source, event name, bulk: 0 live, 1 bulk, 2 held): where the deliveries of a lane
                  wait, each in its own order
    events        one row per accepted event: its id, its transaction, what ingest decided where it was not queued, and
                  marks of its persons (`app.outbox.persons`), end to end; NULL in a row that is older than they are
    bodies        the hashed event (msgpack), perhaps sealed, gone with its last pending or dead delivery
    deliveries    one row per event x destination for the whole of its life: queue entry first, journal entry after
    lane_book     notes about the lanes, by name, with a version and perhaps an end
    minted        ids handed out for a transaction before its event came
    memos         what delivering remembers beyond a delivery's end, by book and name; some are due at an instant
    contexts      what the checkout page knew of an order, until its time is over
    pairs         events both sides may report: when each is to be judged, and what it was counted as
    sightings     one row per side that reported such an event
    proofs        what each event's consent was decided by, kept for its own time
    tallies       what became of pairs, by day, source, event name, destination and verdict
    day_tallies   what audits count, by book and day (`tallies.py`)
    counts        the ledger: (lane, state, currency) -> deliveries and amount; `purged` beside the states

`deliveries` is indexed by (queue, ready_at) among the pending only, so a claim reads what it takes and nothing else,
however many wait behind it and however many settled rows the journal keeps. `events` is the registry of ids as well:
an id is remembered while its row says so or a delivery of it is pending. Of an event that was erased before its id may
be forgotten a row stays, with a digest (`erased_id`) where the id was. A delivery keeps the money it was counted
with. Instants are integers, microseconds since the Unix epoch; amounts are decimal text.
"""

from __future__ import annotations

import hashlib
import sqlite3

from app.errors import Outcome, StoreMismatch

VERSION = 1
"""The version `_TABLES` writes; both change together."""

STATE_PENDING = 0
STATES: dict[Outcome, int] = {
    Outcome.DELIVERED: 1,
    Outcome.DEAD: 2,
    Outcome.EXPIRED: 3,
    Outcome.WITHDRAWN: 4,
    Outcome.ERASED: 5,
}
STATE_DEAD = STATES[Outcome.DEAD]
STATE_PURGED = 6
"""A dead letter whose event was deleted: it counts as dead and cannot be replayed."""
OUTCOMES: dict[int, Outcome] = {number: outcome for outcome, number in STATES.items()} | {STATE_PURGED: Outcome.DEAD}

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', '1');
CREATE TABLE lanes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE queues (
  id INTEGER PRIMARY KEY,
  lane INTEGER NOT NULL,
  source TEXT NOT NULL,
  event_name TEXT NOT NULL,
  bulk INTEGER NOT NULL,
  UNIQUE (lane, source, event_name, bulk)
);
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  event_name TEXT NOT NULL,
  event_id TEXT NOT NULL,
  txn TEXT,
  occurrence TEXT,
  accepted_at INTEGER NOT NULL,
  remember_until INTEGER NOT NULL,
  verdicts BLOB,
  persons BLOB
);
CREATE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_txn ON events (txn) WHERE txn IS NOT NULL;
CREATE TABLE bodies (event INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE deliveries (
  event INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  queue INTEGER NOT NULL,
  state INTEGER NOT NULL,
  ready_at INTEGER NOT NULL,
  limited INTEGER NOT NULL,
  currency TEXT,
  amount TEXT,
  window_until INTEGER NOT NULL,
  pair_until INTEGER,
  repeat_for INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  unknown_answers INTEGER NOT NULL DEFAULT 0,
  token BLOB,
  claimed_at INTEGER,
  unsure_since INTEGER,
  reason TEXT,
  detail TEXT,
  trace_id TEXT,
  settled_at INTEGER,
  PRIMARY KEY (event, lane)
) WITHOUT ROWID;
CREATE INDEX deliveries_ready ON deliveries (queue, ready_at) WHERE state = 0;
CREATE INDEX deliveries_waiting ON deliveries (lane, event, bytes) WHERE state = 0;
CREATE INDEX deliveries_dead ON deliveries (settled_at) WHERE state = 2;
CREATE TABLE lane_book (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL,
  version INTEGER NOT NULL,
  expires_at INTEGER
) WITHOUT ROWID;
CREATE TABLE minted (
  txn TEXT NOT NULL,
  source TEXT NOT NULL,
  event_name TEXT NOT NULL,
  occurrence TEXT NOT NULL,
  event_id TEXT NOT NULL,
  remember_until INTEGER NOT NULL,
  PRIMARY KEY (txn, source, event_name, occurrence)
) WITHOUT ROWID;
CREATE INDEX minted_by_id ON minted (event_id);
CREATE INDEX minted_until ON minted (remember_until);
CREATE TABLE contexts (
  source TEXT NOT NULL,
  txn TEXT NOT NULL,
  body BLOB NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (source, txn)
) WITHOUT ROWID;
CREATE INDEX contexts_until ON contexts (until);
CREATE TABLE pairs (
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  event_id TEXT NOT NULL,
  due_at INTEGER,
  counted TEXT NOT NULL,
  until INTEGER NOT NULL,
  UNIQUE (source, event_id)
);
CREATE INDEX pairs_due ON pairs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX pairs_until ON pairs (until);
CREATE TABLE sightings (
  pair INTEGER NOT NULL,
  side TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (pair, side)
) WITHOUT ROWID;
CREATE TABLE proofs (
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL,
  event_name TEXT NOT NULL,
  event_id TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX proofs_by_id ON proofs (event_id);
CREATE TABLE tallies (key TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE memos (
  book TEXT NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  until INTEGER NOT NULL,
  due_at INTEGER,
  PRIMARY KEY (book, name)
) WITHOUT ROWID;
CREATE INDEX memos_due ON memos (book, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX memos_until ON memos (until);
CREATE TABLE counts (
  lane INTEGER NOT NULL,
  state TEXT NOT NULL,
  currency TEXT NOT NULL,
  deliveries INTEGER NOT NULL,
  amount TEXT NOT NULL,
  PRIMARY KEY (lane, state, currency)
) WITHOUT ROWID;
"""

_DAY_TALLIES = """
CREATE TABLE IF NOT EXISTS day_tallies (
  book TEXT NOT NULL,
  day TEXT NOT NULL,
  key TEXT NOT NULL,
  number INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  PRIMARY KEY (book, day, key)
) WITHOUT ROWID;
"""


ERASED = "~"
"""What the digest begins with that stands for the id of an erased event."""


def erased_id(source: str, event_name: str, event_id: str) -> str:
    """What stands for the id of an erased event, for as long as it is to be remembered."""
    words = "\0".join((source, event_name, event_id)).encode()
    return ERASED + hashlib.blake2b(words, digest_size=16).hexdigest()


def has_erased(connection: sqlite3.Connection) -> bool:
    """Whether such a digest may be in the file."""
    query = "SELECT 1 FROM events WHERE event_id >= ? AND event_id < ? LIMIT 1"
    return connection.execute(query, (ERASED, ERASED + "g")).fetchone() is not None


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, or check that the file is one this version can use.

    Raises:
        StoreMismatch: The file belongs to another schema version, or to something else.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {_DAY_TALLIES} COMMIT;")
        return
    row = None
    if "meta" in tables:
        row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    if row is None:
        raise StoreMismatch("the store's file is a SQLite database, but not one of Convey's")
    if str(row[0]) != str(VERSION):
        raise StoreMismatch(
            f"the store has schema version {row[0]}, this version of Convey uses {VERSION}: "
            "start the version that wrote it, or move the file away"
        )
    # A file made before there were these.
    connection.execute("CREATE INDEX IF NOT EXISTS minted_until ON minted (remember_until)")
    if "persons" not in {row[1] for row in connection.execute("PRAGMA table_info(events)")}:
        connection.execute("ALTER TABLE events ADD COLUMN persons BLOB")
    connection.execute(_DAY_TALLIES)
