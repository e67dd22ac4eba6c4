-- Requests of the calendar sync that a system has refused, so that the same one is not sent again in each run.
-- ``request`` is a hash: of what was to be written, and of both sides as they were.
CREATE TABLE calendar_sync_refused (
    employee_kuerzel text        NOT NULL,
    request          text        NOT NULL,
    times            integer     NOT NULL DEFAULT 1,
    refused_at       timestamptz NOT NULL,
    error            text        NOT NULL,
    PRIMARY KEY (employee_kuerzel, request)
);
