-- The outbox tables of a slot whose relay reads several, each as schema.name. The place of a table
-- in the list is its number, from 0, and stays. NULL for a relay with one table.
ALTER TABLE relay_checkpoints ADD COLUMN tables text[];
COMMENT ON COLUMN relay_checkpoints.tables IS 'Outbox tables that the slot streams, if there are several: the place of each is its number, and stays. NULL for one table.';
COMMENT ON COLUMN relay_checkpoints.outbox_table IS 'Outbox table that the slot streams, as schema.name. Several are named as in RELAY_TABLE.';

---- create above / drop below ----

-- An older relay reads one table.
DO $$
BEGIN
    IF EXISTS (SELECT FROM relay_checkpoints WHERE tables IS NOT NULL) THEN
        RAISE EXCEPTION 'a slot streams several tables, which an older relay cannot read';
    END IF;
END
$$;
ALTER TABLE relay_checkpoints DROP COLUMN tables;
