-- What was read whole, however little had changed (docs/scaling.md): the pairs of one employee, and who has any;
CREATE INDEX calendar_sync_employee_pairs ON calendar_sync (employee_kuerzel, deleted);
-- the linked Beteiligte next to a number;
CREATE INDEX sync_state_number ON sync_state (entity_type, (advoware_id::bigint))
    WHERE deleted_at IS NULL AND advoware_id ~ '^[0-9]{1,18}$';
-- records that are gone, for the nightly cleaning;
CREATE INDEX sync_state_deleted ON sync_state (deleted_at) WHERE deleted_at IS NOT NULL;
-- records whose sync has failed, for the board while EspoCRM is away;
CREATE INDEX sync_audit_failed ON sync_audit (entity_type, entity_id) WHERE result = 'failed';
-- and the guards that fired for an employee.
CREATE INDEX calendar_sync_audit_guards ON calendar_sync_audit (employee_kuerzel, audit_id)
    WHERE action IN ('held', 'released', 'refused', 'protected');
