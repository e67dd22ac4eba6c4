-- What the syncs would have written while BITBYLAW_READ_ONLY was on; see services/shadow/journal.py. Values only as hashes.
CREATE TABLE shadow_write (
    flow       text        NOT NULL CHECK (flow IN ('vmh', 'calendar')),
    subject    text        NOT NULL,                     -- id of the CBeteiligte, or Kürzel
    system     text        NOT NULL,
    kind       text        NOT NULL,
    record_id  text        NOT NULL,
    operation  text        NOT NULL,                     -- create, change, delete
    field      text        NOT NULL,                     -- empty for a deletion
    new_hash   text        NOT NULL,
    first_noted timestamptz NOT NULL,
    last_noted  timestamptz NOT NULL,
    PRIMARY KEY (flow, subject, system, kind, record_id, field, new_hash)
);
CREATE INDEX shadow_write_last_noted ON shadow_write (last_noted);
