-- The inbox: one row for each event that a consumer has processed, written in the transaction in
-- which the consumer acted.
CREATE TABLE inbox_events (
    consumer    text        NOT NULL CHECK (consumer <> ''),
    event_id    text        NOT NULL CHECK (event_id <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_events_recorded_at_idx ON inbox_events (recorded_at);

-- The newest event of each aggregate, for consumers that skip stale ones.
CREATE TABLE inbox_aggregates (
    consumer       text        NOT NULL CHECK (consumer <> ''),
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    sequence       bigint      NOT NULL,
    event_id       text        NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, aggregate_type, aggregate_id)
) WITH (fillfactor = 50); -- room for updates that touch no index

COMMENT ON TABLE inbox_events IS 'The inbox: one row for each event that a consumer has processed. An event that has a row is skipped.';
COMMENT ON COLUMN inbox_events.consumer IS 'Name of the consumer, as it passes it to inbox.Once.';
COMMENT ON COLUMN inbox_events.event_id IS 'Id of the event: the message attribute event_id.';
COMMENT ON COLUMN inbox_events.recorded_at IS 'Time at which the event was recorded. inbox.Prune removes rows by it.';
COMMENT ON TABLE inbox_aggregates IS 'Newest event of each aggregate, of consumers that use SkipStale. An event with a lower sequence is skipped. Nothing removes the rows: delete them together with the aggregate.';
COMMENT ON COLUMN inbox_aggregates.consumer IS 'Name of the consumer, as it passes it to inbox.Once.';
COMMENT ON COLUMN inbox_aggregates.aggregate_type IS 'Type of the aggregate: the message attribute aggregate_type.';
COMMENT ON COLUMN inbox_aggregates.aggregate_id IS 'Id of the aggregate: the message attribute aggregate_id.';
COMMENT ON COLUMN inbox_aggregates.sequence IS 'Highest sequence that the consumer has acted upon: the message attribute sequence.';
COMMENT ON COLUMN inbox_aggregates.event_id IS 'Id of the event that had this sequence.';
COMMENT ON COLUMN inbox_aggregates.updated_at IS 'Time of the last change of this row.';

-- The table of versions exists if the package runs this file, and not if psql does.
DO $$
BEGIN
    IF to_regclass('inbox_schema_version') IS NOT NULL THEN
        COMMENT ON TABLE inbox_schema_version IS 'Version of these tables: the number of the newest migration that has run.';
        COMMENT ON COLUMN inbox_schema_version.version IS 'Number of the newest migration.';
    END IF;
END
$$;

---- create above / drop below ----

DROP TABLE inbox_aggregates;
DROP TABLE inbox_events;
