-- When each cron last did its work; see services/core/operation/cron_runs.py.
CREATE TABLE cron_run (
    cron         text        PRIMARY KEY,                -- beteiligte_sync, calendar_sync, resume
    succeeded_at timestamptz NOT NULL
);
