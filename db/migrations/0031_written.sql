-- The side that the sync has written the content of a pair to last, and the version of the Termin that both sides were
-- compared with: what that side shows otherwise without another version is no one's edit. NULL: not known.
ALTER TABLE calendar_sync ADD COLUMN written text CHECK (written IN ('advoware', 'google'));
ALTER TABLE calendar_sync ADD COLUMN advoware_row_id text;
