-- What a run has begun to write for a CBeteiligte and all that belongs to it, as lines of the audit. The audit's line of
-- the run ends it; what a run that was interrupted has left comes into the audit with the next one.
ALTER TABLE sync_state ADD COLUMN unrecorded jsonb;

-- The same for the calendar: what an employee's run is about to write to one side, until it is written or has failed.
CREATE TABLE calendar_sync_begun (
    begun_id         uuid    PRIMARY KEY,
    employee_kuerzel text    NOT NULL,
    sync_id          uuid,
    advoware_frnr    integer,
    google_event_id  text,
    side             text    NOT NULL,
    action           text    NOT NULL,
    reason           text    NOT NULL,
    trace_id         text
);
