-- A person's own event that is private in Google: it keeps its text although its Termin is private as well.
ALTER TABLE calendar_sync ADD COLUMN persons_private boolean NOT NULL DEFAULT false;
