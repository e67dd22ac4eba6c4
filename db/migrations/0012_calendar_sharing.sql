-- What we have done to calendars and whom we know, so that only our own work is changed.

-- The sharing rules that the sync has set. What people set by hand is not here, and stays.
CREATE TABLE calendar_sync_sharing (
    calendar_id text        NOT NULL,
    email       text        NOT NULL,                     -- of the account, lower case
    rule_id     text        NOT NULL,                     -- Google's
    role        text        NOT NULL,
    set_at      timestamptz,                              -- null: asked for, and the answer is not known
    PRIMARY KEY (calendar_id, email)
);

-- What the sync has last done to a calendar itself.
CREATE TABLE calendar_sync_calendar (
    calendar_id text        PRIMARY KEY,
    name        text        NOT NULL,                     -- that the sync has given it; another one is a person's
    applied     text                                      -- hash of the name, description and sharing it was to have
);

-- Advoware's active employees: who is the same person under another Kürzel has the name that we know.
CREATE TABLE calendar_sync_employee (
    kuerzel     text        PRIMARY KEY,
    name        text        NOT NULL,                     -- empty: Advoware gives none
    seen_at     timestamptz NOT NULL                      -- when Advoware last listed him as active
);

-- Kürzel that nobody has any more; Termine may bear them for ever.
CREATE TABLE calendar_sync_renamed (
    former      text        PRIMARY KEY,
    kuerzel     text        NOT NULL,                     -- what that person is called now
    renamed_at  timestamptz NOT NULL
);
