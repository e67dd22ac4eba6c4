-- One word for one thing: what a note asks for is requested, and Advoware lists an employee.
ALTER TABLE look_again RENAME COLUMN wishes TO requested;
ALTER TABLE calendar_sync_employee RENAME COLUMN seen_at TO listed_at;
