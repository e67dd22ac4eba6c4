-- What an operator has to know about the calendar sync of each employee, and what he has decided.

-- The latest run of each employee, and since when runs fail.
CREATE TABLE calendar_sync_run (
    employee_kuerzel text        PRIMARY KEY,
    result           text        NOT NULL CHECK (result IN ('no_change', 'changed', 'held', 'failed')),
    code             text,                                -- why it failed: an error's name or our own words, no texts
    ended_at         timestamptz NOT NULL,
    succeeded_at     timestamptz,                         -- the latest run that did not fail
    failing_since    timestamptz,                         -- null: it does not fail
    failures         integer     NOT NULL DEFAULT 0       -- failed runs since the last success
);

-- Work that a guard holds back until somebody has looked. A release is used up by the next run.
CREATE TABLE calendar_sync_hold (
    employee_kuerzel text        PRIMARY KEY,
    reason           text        NOT NULL CHECK (reason IN ('too_many', 'advoware_empty')),
    number           integer     NOT NULL,                -- appointments that would be deleted or made anew
    live_pairs       integer     NOT NULL,
    held_since       timestamptz NOT NULL,
    released_at      timestamptz                          -- null: not released
);

-- What the sync has overwritten in Google because Advoware is the source: texts of appointments, for 30 days only.
CREATE TABLE calendar_sync_overwritten (
    overwritten_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at               timestamptz NOT NULL,
    employee_kuerzel text        NOT NULL,
    sync_id          uuid        NOT NULL,
    advoware_frnr    integer,
    google_event_id  text        NOT NULL,
    resource         jsonb       NOT NULL,                -- the event as Google had it
    restored_at      timestamptz
);

CREATE INDEX calendar_sync_overwritten_at ON calendar_sync_overwritten (at);
CREATE INDEX calendar_sync_overwritten_pair ON calendar_sync_overwritten (sync_id, overwritten_id);
