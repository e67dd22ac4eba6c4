-- Which pairs a guard holds back, so that an operator sees them before releasing. Empty: held by a run before this change.
ALTER TABLE calendar_sync_hold ADD COLUMN sync_ids uuid[] NOT NULL DEFAULT '{}';
