-- The take-over of the old system's state, once per database. While it has no end, no worker may work on this database.
CREATE TABLE takeover (
    only_one       boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    began_at       timestamptz NOT NULL,
    finished_at    timestamptz,                           -- null: it was interrupted, or is under way
    moved          jsonb       NOT NULL DEFAULT '{}',     -- what was moved aside: {present name: former name}
    made_tables    jsonb       NOT NULL DEFAULT '[]',     -- what undoing it drops, because it was not there before
    made_functions jsonb       NOT NULL DEFAULT '[]'
);
