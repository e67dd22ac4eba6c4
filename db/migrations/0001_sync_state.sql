-- The merge base: what both sides agreed on after the last successful sync of a record.
CREATE TABLE sync_state (
    entity_type         text        NOT NULL,             -- EspoCRM's name: CBeteiligte, CAdressen, ...
    entity_id           text        NOT NULL,             -- EspoCRM's id
    advoware_id         text,                             -- betNr or id of the sub-record
    base                jsonb       NOT NULL DEFAULT '{}',-- normalised values both sides agreed on
    rejected            jsonb       NOT NULL DEFAULT '{}',-- fields a side silently refused: {field: {espocrm, advoware}}
    advoware_row_id     text,
    espocrm_modified_at timestamptz,
    synced_at           timestamptz,
    deleted_at          timestamptz,                      -- soft delete
    PRIMARY KEY (entity_type, entity_id)
);

-- One Advoware record belongs to at most one EspoCRM record.
CREATE UNIQUE INDEX sync_state_advoware ON sync_state (entity_type, advoware_id)
    WHERE advoware_id IS NOT NULL AND deleted_at IS NULL;

-- Written before a create that cannot be repeated safely; found again after a crash.
CREATE TABLE create_intent (
    entity_type  text        NOT NULL,
    entity_id    text        NOT NULL,
    started_at   timestamptz NOT NULL,                    -- of the first attempt; what it may have created is younger
    attempted_at timestamptz NOT NULL,                    -- of the latest attempt
    attempts     integer     NOT NULL DEFAULT 1,
    posted       jsonb       NOT NULL,                    -- the comparable values that were sent
    advoware_id  text,                                    -- set as soon as the answer is known
    PRIMARY KEY (entity_type, entity_id)
);

CREATE UNIQUE INDEX create_intent_advoware ON create_intent (entity_type, advoware_id) WHERE advoware_id IS NOT NULL;

-- Append-only: what was done, to which record, how it ended. Values appear only in "changes", and only where a person
-- may need them again (the losing side of a conflict).
CREATE TABLE sync_audit (
    audit_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    entity_type text        NOT NULL,
    entity_id   text        NOT NULL,
    topic       text        NOT NULL,
    source      text        NOT NULL,                     -- webhook, cron, manual
    result      text        NOT NULL,                     -- created, adopted, no_change, merged, ..., failed
    duration_ms double precision NOT NULL,
    advoware_id text,
    changes     jsonb       NOT NULL DEFAULT '[]',
    error       text,
    trace_id    text
);

CREATE INDEX sync_audit_entity ON sync_audit (entity_type, entity_id, audit_id);
