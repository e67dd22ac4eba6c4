-- The base of a Beteiligter remembers what each side held: {"name": {"espocrm": ..., "advoware": ...}}. What was stored as
-- empty may have meant "does not apply" or "cannot be read", so it is not taken over: the next sync settles these fields
-- anew, where a value wins over none. That invents no change.
UPDATE sync_state SET base = coalesce(
    (SELECT jsonb_object_agg(item.key, jsonb_build_object('espocrm', item.value, 'advoware', item.value))
     FROM jsonb_each(base) AS item
     WHERE jsonb_typeof(item.value) <> 'null' AND jsonb_typeof(item.value) <> 'object'),
    '{}')
WHERE entity_type = 'CBeteiligte';

-- Fields that a side refused: each one is settled as it stands, so that it is no edit.
UPDATE sync_state SET base = base || rejected
WHERE entity_type = 'CBeteiligte' AND rejected <> '{}';

-- Who a number stood for and how far Advoware's record had come, to recognise a number that was given again and an
-- Advoware that went back to a backup.
ALTER TABLE sync_state ADD COLUMN advoware_created_at timestamptz;
ALTER TABLE sync_state ADD COLUMN advoware_changed_at timestamptz;
ALTER TABLE create_intent ADD COLUMN advoware_created_at timestamptz;
