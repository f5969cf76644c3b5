-- The relations of the outbox tables of a slot, in the order of tables. They tell a table that was
-- renamed from one that was dropped. 0 for one that was never found.
ALTER TABLE relay_checkpoints ADD COLUMN table_relations oid[];
COMMENT ON COLUMN relay_checkpoints.table_relations IS 'Relation that each of the tables was last, in the same order. 0 for one that was never found. NULL for one table.';

---- create above / drop below ----

ALTER TABLE relay_checkpoints DROP COLUMN table_relations;
