-- What operators have done, by whatever way: command line, board. Ids and numbers only, no personal data.
CREATE TABLE operator_action (
    operator_action_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                 timestamptz NOT NULL,
    who                text        NOT NULL,             -- cli:<user of the system>, board:<name of the key>, system
    action             text        NOT NULL,             -- pause, resume, retry, redrive, discard, release, ...
    target             text        NOT NULL,             -- what it was done to, such as flow:vmh or CBeteiligte/<id>
    result             text        NOT NULL,             -- done, nothing_to_do, refused, failed
    details            jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX operator_action_at ON operator_action (at);
CREATE INDEX operator_action_target ON operator_action (target, at);
