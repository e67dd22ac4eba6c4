-- Of all that a run has seen in which nothing was to be done: the next one that sees the same need not look closer.
ALTER TABLE calendar_sync_cursor ADD COLUMN quiet_digest text;
