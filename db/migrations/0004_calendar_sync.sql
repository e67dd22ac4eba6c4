-- One row per pair of a Termin in Advoware and an event in Google Calendar. Never removed, only marked as deleted.
CREATE TABLE calendar_sync (
    sync_id                uuid        PRIMARY KEY,
    employee_kuerzel       text        NOT NULL,
    advoware_frnr          integer,
    google_event_id        text,
    source_system          text        NOT NULL CHECK (source_system IN ('advoware', 'google')),
    sync_strategy          text        NOT NULL CHECK (sync_strategy IN ('source_system_wins', 'last_change_wins')),
    advoware_write_allowed boolean     NOT NULL,
    sync_status            text        NOT NULL CHECK (sync_status IN ('pending', 'synced', 'failed')),
    deleted                boolean     NOT NULL DEFAULT false,
    deleted_at             timestamptz,
    last_sync              timestamptz,
    advoware_hash          text,                          -- of the normalised content at the last sync
    advoware_changed_at    timestamptz,                   -- zuletztGeaendertAm at the last sync
    google_hash            text,
    google_etag            text,
    google_updated         timestamptz,
    first_day              date,                          -- the days it covered at the last sync: they tell what left
    last_day               date,                          -- the window from what was deleted
    error                  text,                          -- a reason code or our own words, never an appointment's text
    attempts               integer     NOT NULL DEFAULT 0, -- failed ones since the last success
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    CHECK (deleted = (deleted_at IS NOT NULL)),
    CHECK (advoware_frnr IS NOT NULL OR google_event_id IS NOT NULL)
);

-- A Termin of everybody has one pair per employee.
CREATE UNIQUE INDEX calendar_sync_advoware ON calendar_sync (employee_kuerzel, advoware_frnr)
    WHERE advoware_frnr IS NOT NULL AND NOT deleted;
CREATE UNIQUE INDEX calendar_sync_google ON calendar_sync (employee_kuerzel, google_event_id)
    WHERE google_event_id IS NOT NULL AND NOT deleted;
CREATE INDEX calendar_sync_frnr ON calendar_sync (advoware_frnr);
CREATE INDEX calendar_sync_event ON calendar_sync (google_event_id);

-- Where the sync of an employee stands.
CREATE TABLE calendar_sync_cursor (
    employee_kuerzel text        PRIMARY KEY,
    calendar_id      text        UNIQUE,
    sync_token       text,                                -- Google's; null: list the whole calendar next time
    last_full_run    timestamptz,
    updated_at       timestamptz NOT NULL
);

-- Written before a Termin is created in Advoware, which chooses the number; found again after a crash.
CREATE TABLE calendar_sync_intent (
    employee_kuerzel text        NOT NULL,
    google_event_id  text        NOT NULL,
    sync_id          uuid        NOT NULL,
    content_hash     text        NOT NULL,                -- of the normalised content that was sent
    first_day        date        NOT NULL,                -- where to look for what the attempt may have created
    started_at       timestamptz NOT NULL,                -- what the attempt may have created is younger
    attempts         integer     NOT NULL DEFAULT 1,
    advoware_frnr    integer     UNIQUE,                  -- set as soon as the answer is known
    PRIMARY KEY (employee_kuerzel, google_event_id)
);

-- Append-only: what was done to which side, when and why. Hashes instead of texts.
CREATE TABLE calendar_sync_audit (
    audit_id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at               timestamptz NOT NULL,
    employee_kuerzel text        NOT NULL,
    sync_id          uuid,                                -- null: about the employee's whole calendar
    advoware_frnr    integer,
    google_event_id  text,
    side             text        NOT NULL CHECK (side IN ('advoware', 'google', 'none')), -- which one was written to
    action           text        NOT NULL,                -- created, adopted, updated, deleted, recreated, failed, ...
    reason           text        NOT NULL,
    before_hash      text,
    after_hash       text,
    error            text,
    trace_id         text
);

CREATE INDEX calendar_sync_audit_pair ON calendar_sync_audit (sync_id, audit_id);
CREATE INDEX calendar_sync_audit_frnr ON calendar_sync_audit (advoware_frnr, audit_id);

CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON calendar_sync_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();
