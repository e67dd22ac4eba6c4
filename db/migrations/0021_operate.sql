-- The board looks at the latest hours, and at one topic, one employee or one appointment, page by page.
CREATE INDEX sync_audit_at ON sync_audit (at);
CREATE INDEX sync_audit_topic ON sync_audit (topic, audit_id);
CREATE INDEX calendar_sync_audit_at ON calendar_sync_audit (at);
CREATE INDEX calendar_sync_audit_employee ON calendar_sync_audit (employee_kuerzel, audit_id);
CREATE INDEX calendar_sync_audit_event ON calendar_sync_audit (google_event_id, audit_id);

-- What operators have done is never changed afterwards.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_action
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();
