-- A problem that is over: why, and since when; its Task is cancelled as soon as EspoCRM can be reached.
ALTER TABLE notification
    ADD COLUMN over_since   timestamptz,
    ADD COLUMN over_why     text,
    ADD COLUMN withdrawn_at timestamptz,             -- the Task has been cancelled, or there was none to cancel
    ADD COLUMN list_key     text;                    -- the problem is told in the list of that problem_key

CREATE INDEX notification_over ON notification (over_since) WHERE over_since IS NOT NULL AND withdrawn_at IS NULL;
CREATE INDEX notification_entity ON notification (entity_type, entity_id);
CREATE INDEX notification_list ON notification (list_key) WHERE list_key IS NOT NULL;

-- Who looks after a record, so that the right person learns of its deletion when it is gone.
CREATE TABLE responsible (
    entity_type      text  NOT NULL,
    entity_id        text  NOT NULL,
    assigned_user_id text,
    team_ids         jsonb NOT NULL DEFAULT '[]',
    name             text,                           -- of the person or firm
    PRIMARY KEY (entity_type, entity_id)
);
