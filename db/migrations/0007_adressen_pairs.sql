-- The base of an Adresse remembers per field what each side said (services/values.py), where it had one value for both.
-- A null date or line below the street may have meant "unreadable": forgotten, so that nobody's edit is made up of it.
-- A difference that waits for a person is settled as it is.
UPDATE sync_state
SET base = (
        SELECT coalesce(
            jsonb_object_agg(
                key,
                CASE
                    WHEN key IN ('isActive', 'standardAnschrift') THEN value
                    ELSE jsonb_build_object('espocrm', value, 'advoware', value)
                END
            ),
            '{}'
        )
        FROM jsonb_each(base)
        WHERE NOT (value = 'null' AND key IN ('gueltigVon', 'gueltigBis', 'weitereZeilen'))
    ) || (
        SELECT coalesce(
            jsonb_object_agg(
                key, jsonb_build_object('espocrm', value -> 'espocrm', 'advoware', value -> 'advoware')
            ),
            '{}'
        )
        FROM jsonb_each(rejected)
        WHERE key NOT IN ('isActive', 'standardAnschrift', 'gone')
    ),
    rejected = (
        SELECT coalesce(
            jsonb_object_agg(
                key,
                CASE
                    WHEN key IN ('isActive', 'standardAnschrift', 'gone') THEN value
                    ELSE (value - 'refused') || jsonb_build_object(
                        'reason', CASE WHEN value -> 'refused' = 'true' THEN 'refused' ELSE 'read_only' END
                    )
                END
            ),
            '{}'
        )
        FROM jsonb_each(rejected)
    )
WHERE entity_type = 'CAdressen';
