-- A recovery beside a slot that is intact: every transaction that is visible in recover_to commits before this position, and the
-- slot brings every later one. NULL where the slot was created for the recovery. An older relay does not know the column: it
-- ends the recovery as soon as the rows of the table are published, and what the slot then brings comes twice.
ALTER TABLE relay_checkpoints ADD COLUMN recover_until pg_lsn;

---- create above / drop below ----

ALTER TABLE relay_checkpoints DROP COLUMN recover_until;
