-- What is paused, and the jobs that wait for its end; see services/core/operation/pause.py.
CREATE TABLE pause (
    kind   text        NOT NULL CHECK (kind IN ('all', 'flow', 'topic', 'cron', 'employee')),
    target text        NOT NULL,                         -- empty for "all"
    reason text        NOT NULL,
    who    text        NOT NULL,
    since  timestamptz NOT NULL,
    until  timestamptz,                                  -- it ends by itself then; null: when somebody resumes
    PRIMARY KEY (kind, target)
);

-- Jobs that came out of the queue while they were paused. They go back into it when they are not any more.
CREATE TABLE paused_job (
    topic     text        NOT NULL,
    job_key   text        NOT NULL,                      -- the payload without its time, so that the same job waits once
    payload   jsonb       NOT NULL,
    employee  text        NOT NULL,                      -- whose calendar it is about; empty for others
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (topic, job_key)
);
CREATE INDEX paused_job_parked_at ON paused_job (parked_at);
