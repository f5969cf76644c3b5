-- How each relay of a slot is, as it says itself: one row for each running process, and for a day
-- for one that ended.
CREATE TABLE relay_instances (
    slot_name   text        NOT NULL,
    instance    text        NOT NULL,
    started_at  timestamptz NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    report      json        NOT NULL,
    PRIMARY KEY (slot_name, instance)
) WITH (fillfactor = 50); -- room for updates that touch no index

-- The last time that the slot could not bring every event. An older relay leaves the columns as
-- they are.
ALTER TABLE relay_checkpoints
    ADD COLUMN gap_found_at    timestamptz,
    ADD COLUMN gap_reason      text,
    ADD COLUMN gap_repaired_at timestamptz;

COMMENT ON TABLE relay_instances IS 'Reports of the relays: one row for each process. relay status reads them.';
COMMENT ON COLUMN relay_instances.slot_name IS 'Replication slot, as in RELAY_SLOT.';
COMMENT ON COLUMN relay_instances.instance IS 'Random id of the process.';
COMMENT ON COLUMN relay_instances.started_at IS 'Time at which the process started.';
COMMENT ON COLUMN relay_instances.reported_at IS 'Time of the last report. A running relay reports every ten seconds at least.';
COMMENT ON COLUMN relay_instances.report IS 'The report: state, events on their way, destinations.';
COMMENT ON COLUMN relay_checkpoints.gap_found_at IS 'Time of the last gap: the slot could not bring every event.';
COMMENT ON COLUMN relay_checkpoints.gap_reason IS 'Reason of the last gap.';
COMMENT ON COLUMN relay_checkpoints.gap_repaired_at IS 'Time at which the events of the last gap were published from the table. NULL before that.';

---- create above / drop below ----

ALTER TABLE relay_checkpoints DROP COLUMN gap_found_at, DROP COLUMN gap_reason, DROP COLUMN gap_repaired_at;
DROP TABLE relay_instances;
