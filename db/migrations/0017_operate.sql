-- What operators have done by hand, on the board or the command line. Ids and numbers only.
CREATE TABLE operator_action (
    action_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL,
    operator  text        NOT NULL,                     -- name of the key, or of the user on the command line
    via       text        NOT NULL CHECK (via IN ('board', 'cli')),
    action    text        NOT NULL,                     -- sync, retry, redrive, discard, ...
    target    text        NOT NULL,                     -- a topic, a status, an id, a Kürzel
    ids       jsonb       NOT NULL DEFAULT '[]',        -- of what was acted on, at most the first 200
    count     integer     NOT NULL,                     -- how many were acted on
    result    text        NOT NULL CHECK (result IN ('done', 'nothing', 'failed')),
    error     text                                      -- our own words, no values
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_action
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();

-- The latest run of each cron step, so that a missed one is noticed.
CREATE TABLE cron_run (
    name         text        PRIMARY KEY,               -- of the step
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    succeeded_at timestamptz,
    error        text                                   -- of the latest run, our own words
);

-- The board looks at the latest hours, and at one topic or one employee, page by page.
CREATE INDEX sync_audit_at ON sync_audit (at);
CREATE INDEX sync_audit_topic ON sync_audit (topic, audit_id);
CREATE INDEX calendar_sync_audit_at ON calendar_sync_audit (at);
CREATE INDEX calendar_sync_audit_employee ON calendar_sync_audit (employee_kuerzel, audit_id);
CREATE INDEX calendar_sync_audit_event ON calendar_sync_audit (google_event_id, audit_id);
