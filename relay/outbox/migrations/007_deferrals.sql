-- Destinations whose events wait in the outbox table: one row for each destination that was
-- unavailable for RELAY_PARK_AFTER. A row of the outbox table is done for a deferral if it
-- is visible in known and its seq is below from_seq.
CREATE TABLE outbox_deferrals (
    slot_name    text        NOT NULL,
    outbox_table text        NOT NULL,
    destination  text        NOT NULL,
    -- transaction ids mean nothing in another cluster
    system_identifier text   NOT NULL,
    known        pg_snapshot NOT NULL,
    from_seq     bigint      NOT NULL,
    -- The routes by which rows were deferred. Changed routes are added: rows are selected by any of
    -- them, and sent by the routes of now.
    routes       text[]      NOT NULL,
    -- joined: everything visible in known is delivered, and the stream may still bring it again
    state        text        NOT NULL CHECK (state IN ('deferred', 'joined')),
    joined_lsn   pg_lsn,
    events       bigint      NOT NULL DEFAULT 0,
    reason       text        NOT NULL,
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot_name, outbox_table, destination)
) WITH (fillfactor = 50); -- room for updates that touch no index

-- Events that waited for their destination when a replay was requested are not part of the replay.
ALTER TABLE outbox_replays ADD COLUMN deferrals jsonb;
COMMENT ON COLUMN outbox_replays.deferrals IS 'Deferrals at the time of the request. Events that waited for a destination then are excluded. NULL if none did.';

COMMENT ON TABLE outbox_deferrals IS 'Destinations whose events wait in the outbox table, because the destination is unavailable: one row for each.';
COMMENT ON COLUMN outbox_deferrals.slot_name IS 'Replication slot whose relay delivers the events.';
COMMENT ON COLUMN outbox_deferrals.outbox_table IS 'Outbox table in which the events wait, as schema.name.';
COMMENT ON COLUMN outbox_deferrals.destination IS 'Topic or queue that has yet to get the events.';
COMMENT ON COLUMN outbox_deferrals.system_identifier IS 'Identifier of the database cluster. In another one, no row is done.';
COMMENT ON COLUMN outbox_deferrals.known IS 'Snapshot: a row that is visible in it, and whose seq is below from_seq, is done.';
COMMENT ON COLUMN outbox_deferrals.from_seq IS 'Rows from this seq on are not done. 9223372036854775807: rows of every seq that are visible in known are done.';
COMMENT ON COLUMN outbox_deferrals.routes IS 'Routes by which events were deferred. Events are selected by any of them, and sent by the routes of now.';
COMMENT ON COLUMN outbox_deferrals.state IS 'deferred: events wait in the table. joined: the stream delivers again, and skips what it repeats. Such a row goes by itself.';
COMMENT ON COLUMN outbox_deferrals.joined_lsn IS 'Position in the log from which on the stream repeats nothing that is visible in known. NULL while events wait.';
COMMENT ON COLUMN outbox_deferrals.events IS 'About how many events wait. A relay that was killed counts some of them twice.';
COMMENT ON COLUMN outbox_deferrals.reason IS 'Why the events wait, as a sentence.';
COMMENT ON COLUMN outbox_deferrals.since IS 'Time at which the first of the events began to wait.';
COMMENT ON COLUMN outbox_deferrals.updated_at IS 'Time of the last change of this row.';

---- create above / drop below ----

-- Events that wait are in no log any more: deliver them first.
DO $$
BEGIN
    IF EXISTS (SELECT FROM outbox_deferrals WHERE state = 'deferred') THEN
        RAISE EXCEPTION 'events wait in the outbox table for a destination: have the relay deliver them first';
    END IF;
END
$$;
ALTER TABLE outbox_replays DROP COLUMN deferrals;
DROP TABLE outbox_deferrals;
