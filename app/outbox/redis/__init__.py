"""The engine for many processes: every store port over one Redis or Valkey server, a Sentinel group, or a cluster.

An event lies in the partition of its (source, event_id), what is known of a transaction in that of its (source,
transaction). Every key of partition n begins with the tag `{c:n}`, so a script touches one slot:

    {c:n}            hash: store (identity), seq (last event number), floor (the sweep has passed all up to it),
                     touched; ib, in, tb, tn (how many buckets and fields the indexes have)
    {c:n}:e:<seq>    the record of an event: counts of its pending and dead deliveries, accepted at, nonce, remembered
                     until, the head (source, event name, id, transaction, occurrence, verdicts), then the end of each
                     delivery that has ended: all the journal tells
    {c:n}:b:<seq>    its body: the hashed event, and a lead per copy that queued something (id, money, budgets); gone
                     with its last pending or dead delivery
    {c:n}:k:<dest>   set: the queues of a lane (`shares.Queue`, as `plans.queue_text` writes one)
    {c:n}:r:<dest> TAB <queue>    sorted set: pending deliveries by the instant they are ready
    {c:n}:s:<dest>   hash: the pending ones that are not as new: token, claimed at, unsure since, attempts, unknown
                     answers, why they are tried again
    {c:n}:x:<dest>   sorted set: dead letters by the instant they died
    {c:n}:l          sorted set: events the sweep had to leave behind, by the instant it looks at them again
    {c:n}:o          hash: dest -> no number up to this one is in `s` there, for the age of the oldest
    {c:n}:n          hash: the ledger; "dest TAB state TAB currency TAB what" -> deliveries (n), whole units (u),
                     millionths (m); both money counts are exact to 9.2e18; state 6 counts the purged among the
                     dead; "dest TAB 0 TAB TAB b" -> bytes of the hashed events pending there
    {c:n}:i:<b>      hash of event ids: 8 bytes of digest -> numbers of the events under it; beside them what else the
                     id is remembered for: {until, name} and whose it is, of a minted id; and the marks and states of
                     its destinations too, of an event the journal forgot
    {c:n}:t:<b>      hash of transactions: 8 bytes of digest -> source and the entries (name, occurrence, id, ...)
    {c:n}:w:<digest> hash: the sides that reported an event, and what the pair was counted as; the server deletes it
    {c:n}:wd         sorted set: pairs to be judged, by the instant they are due
    {c:n}:wt         hash: what became of pairs, by day, source, event name, destination and verdict
    {c:n}:c:<digest> the context of an order: until when, and the body; the server deletes it then
    {c:n}:j:<day>:<part>    list: the proofs of consent decided that day (`proofs.py`); the server deletes it
    {c:meta}         hash: schema version, partitions, store (identity), whole (every partition was made), kept secrets
    {c:meta}:sources, {c:meta}:destinations    sets of names
    {c:meta}:failovers    list: what was told again after the last failovers
    {c:meta}:datakeys    hash: the day's keys, wrapped, by name (`datakeys.py`)
    {c:meta}:book    hash: the lane book, note by name
    {c:meta}:tallies:<book>:<day>    hash: what audits count, by day (`tallies.py`); the server deletes it
    {c:meta}:due:<book>, {c:meta}:memos:<book>    the memos that are due at an instant (`memos.py`); others lie as
                     contexts do

`scripts/common.lua` has the bytes and what reads them, `records.py` the same for this side. The buckets of an index are
hashes that Redis packs; it gets one more whenever they fill up. Claiming and settling touch the ready set, `s`, and a
few bytes of the record: they do not unpack what does not change. What is told to one script only (`plans.py`,
`pack_end`) is no part of the schema; of what is kept, readers ignore what a newer version put behind what they know.

What expires is deleted by `sweep`, not by the server, since most of it must outlive its time while a delivery is
pending. Instants are microseconds since the Unix epoch, by the server's own clock.
"""

from app.outbox.redis.store import RedisStore

__all__ = ["RedisStore"]
