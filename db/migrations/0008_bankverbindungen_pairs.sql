-- Bankverbindungen remember what each side held when the two were last settled, and the Beteiligter in Advoware:
-- {"iban": v, ..., "accepted": {"bank": [ours, theirs]}, ...} becomes {"fields": {"iban": {"espocrm": v, ...}}, ...}.
UPDATE sync_state
SET base = jsonb_strip_nulls(jsonb_build_object(
        'beteiligteId', base->'beteiligteId',
        'label', base->'label',
        'betnr', to_jsonb(nullif(split_part(coalesce(advoware_id, ''), '/', 1), '')))
    ) || jsonb_build_object('fields', coalesce(
        (SELECT jsonb_object_agg(field, jsonb_build_object('espocrm', pair->0, 'advoware', pair->1))
         FROM jsonb_each(coalesce(base->'accepted', '{}'::jsonb)) AS accepted (field, pair)
         WHERE jsonb_typeof(pair) = 'array'), '{}'::jsonb
    ) || coalesce(
        (SELECT jsonb_object_agg(field, jsonb_build_object('espocrm', value, 'advoware', value))
         FROM jsonb_each(base) AS agreed (field, value)
         WHERE field IN ('iban', 'bic', 'kontoinhaber', 'bank')), '{}'::jsonb))
WHERE entity_type = 'CBankverbindungen' AND NOT base ? 'fields';
