-- The events of one aggregate that come faster than its destination accepts them wait in the outbox
-- table too, with a row of their own. Both columns are empty if all events of a destination wait.
ALTER TABLE outbox_deferrals
    ADD COLUMN aggregate_type text NOT NULL DEFAULT '',
    ADD COLUMN aggregate_id   text NOT NULL DEFAULT '',
    DROP CONSTRAINT outbox_deferrals_pkey,
    ADD PRIMARY KEY (slot_name, outbox_table, destination, aggregate_type, aggregate_id);
-- Retention looks for the deferrals of a row's aggregate.
CREATE INDEX outbox_deferrals_aggregate_idx ON outbox_deferrals (aggregate_id, aggregate_type);

COMMENT ON TABLE outbox_deferrals IS 'Destinations and aggregates whose events wait in the outbox table: one row for each.';
COMMENT ON COLUMN outbox_deferrals.aggregate_type IS 'Type of the aggregate whose events wait. Empty if all events of the destination do.';
COMMENT ON COLUMN outbox_deferrals.aggregate_id IS 'Id of the aggregate whose events wait. Empty if all events of the destination do.';

---- create above / drop below ----

-- Events that wait are in no log any more: deliver them first.
DO $$
BEGIN
    IF EXISTS (SELECT FROM outbox_deferrals WHERE state = 'deferred' AND aggregate_id <> '') THEN
        RAISE EXCEPTION 'events of an aggregate wait in the outbox table: have the relay deliver them first';
    END IF;
END
$$;
DELETE FROM outbox_deferrals WHERE aggregate_id <> '';
DROP INDEX outbox_deferrals_aggregate_idx;
ALTER TABLE outbox_deferrals
    DROP CONSTRAINT outbox_deferrals_pkey,
    DROP COLUMN aggregate_type,
    DROP COLUMN aggregate_id,
    ADD PRIMARY KEY (slot_name, outbox_table, destination);
