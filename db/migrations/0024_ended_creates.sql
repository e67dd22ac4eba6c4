-- Creates that had come to their end when a worker died before it could say so: the link is stored. From now on the
-- statement that stores a link ends its create (SyncStore.save).
DELETE FROM create_intent AS intent
USING sync_state AS state
WHERE state.entity_type = intent.entity_type AND state.entity_id = intent.entity_id
  AND state.advoware_id IS NOT NULL AND state.deleted_at IS NULL;
