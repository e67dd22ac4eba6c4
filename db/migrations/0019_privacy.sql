-- What an erasure leaves of a value is a keyed hash of it, so that the next sync recognises what both sides still show,
-- and a duty of proof can be met. One key per installation, made by the first erasure.
CREATE TABLE erasure_key (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    key      bytea   NOT NULL,
    made_at  timestamptz NOT NULL
);

-- When a backup was restored: what was done since it was made is looked for before it is done again.
CREATE TABLE restored (
    restored_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL,
    backup_made_at timestamptz NOT NULL
);

ALTER TABLE sync_state
    ADD COLUMN erased_at     timestamptz,                -- since when the base holds hashes in the place of values
    ADD COLUMN released_from text;                       -- betNr of a part that was unlinked because its CBeteiligte is gone

-- What an undone line has done is a line of its own; no line is undone twice.
ALTER TABLE sync_audit ADD COLUMN undoes bigint;
CREATE INDEX sync_audit_advoware ON sync_audit (split_part(advoware_id, '/', 1));
CREATE INDEX sync_audit_undoes ON sync_audit (undoes) WHERE undoes IS NOT NULL;

-- The daily cleaning may remove whole lines that are too old; nothing else may.
CREATE OR REPLACE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('bitbylaw.cleaning', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
