-- The end of a recovery that runs while the slot is intact: every transaction that is visible in
-- recover_to commits before this position, and the slot brings every later one. NULL if the slot
-- was created for the recovery. An older relay ignores the column: it ends the recovery as soon as
-- the rows of the table are published, and then publishes the overlap with the slot twice.
ALTER TABLE relay_checkpoints ADD COLUMN recover_until pg_lsn;

---- create above / drop below ----

ALTER TABLE relay_checkpoints DROP COLUMN recover_until;
