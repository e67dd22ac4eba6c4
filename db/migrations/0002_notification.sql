-- One row per problem that people were (or are to be) told about by a Task in EspoCRM.
CREATE TABLE notification (
    problem_key  text        PRIMARY KEY,
    entity_type  text        NOT NULL,
    entity_id    text        NOT NULL,
    action_type  text        NOT NULL,
    details      jsonb       NOT NULL,               -- what the latest occurrence said
    fingerprint  text        NOT NULL,               -- of action type and details; a new one is a new occurrence
    generation   integer     NOT NULL DEFAULT 1,     -- counts the tasks; part of the mark in the task's description
    task_id      text,                               -- null: not created yet, or the attempt's fate is unknown
    started_at   timestamptz NOT NULL,
    attempted_at timestamptz NOT NULL
);

CREATE INDEX notification_unfinished ON notification (attempted_at) WHERE task_id IS NULL;
