-- The parts of a Beteiligter (Adressen, Bankverbindungen) have "<betNr>/<id>" as their advoware_id.
CREATE INDEX sync_state_parts ON sync_state (entity_type, split_part(advoware_id, '/', 1));
