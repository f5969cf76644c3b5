-- The outbox: one row an event, written in the transaction that makes it true.
CREATE TABLE outbox_events (
    id             uuid        PRIMARY KEY,
    seq            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    event_type     text        NOT NULL CHECK (event_type <> ''),
    -- json, not jsonb: it keeps every byte as written, and that is what is delivered
    payload        json        NOT NULL CHECK (octet_length(payload::text) <= 1048576),
    headers        jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
    -- the writing transaction: tells after the loss of a slot which rows may not have been delivered
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX outbox_events_seq_key ON outbox_events (seq);
CREATE INDEX outbox_events_xid_idx ON outbox_events (xid);

-- What a relay knows after a crash, one row a replication slot.
CREATE TABLE relay_checkpoints (
    slot_name               text        PRIMARY KEY,
    outbox_table            text        NOT NULL,
    epoch                   bigint      NOT NULL,
    system_identifier       text        NOT NULL,
    -- everything that ends at or before it is delivered or parked
    flush_lsn               pg_lsn,
    -- the transaction being delivered: how many of its events are, and the id of the last of them
    tx_commit_lsn           pg_lsn,
    tx_delivered            bigint,
    tx_last_event_id        text,
    -- every event whose xid is visible in it is delivered or parked
    horizon                 pg_snapshot,
    publication_fingerprint text,
    -- set while rows of the table are published again: those visible in recover_to and not in recover_from
    recover_from            pg_snapshot,
    recover_to              pg_snapshot,
    recover_since           timestamptz,
    recovered_seq           bigint,
    updated_at              timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50); -- room for updates that touch no index

-- Events that their destination refused for good.
CREATE TABLE outbox_dead_letters (
    position      bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    event_id      text        NOT NULL,
    outbox_table  text        NOT NULL,
    destination   text        NOT NULL,
    message_group text        NOT NULL,
    blocks_group  boolean     NOT NULL,
    code          text        NOT NULL,
    reason        text        NOT NULL,
    attempts      integer     NOT NULL,
    event         json        NOT NULL,
    state         text        NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'redriving', 'redriven', 'discarded')),
    redrives      integer     NOT NULL DEFAULT 0,
    parked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (outbox_table, event_id, destination)
);
CREATE INDEX outbox_dead_letters_open_idx ON outbox_dead_letters (destination, message_group, position)
    WHERE state IN ('parked', 'redriving');

-- Requests to send delivered events once more, one row each: what is selected, and how far it is.
CREATE TABLE outbox_replays (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    slot_name      text        NOT NULL,
    outbox_table   text        NOT NULL,
    -- the selection: events for which all of it holds that is not NULL
    seqs           bigint[],
    since          timestamptz,
    until          timestamptz,
    aggregate_type text,
    aggregate_id   text,
    -- its bounds: what was not visible in it when the replay was asked for comes by itself, what has a later seq too
    horizon        pg_snapshot NOT NULL,
    last_seq       bigint      NOT NULL,
    -- events a second
    rate           integer     NOT NULL CHECK (rate > 0),
    -- how many events were selected, up to which seq they are done with, and how
    events         bigint      NOT NULL,
    passed_seq     bigint      NOT NULL,
    sent           bigint      NOT NULL DEFAULT 0,
    refused        bigint      NOT NULL DEFAULT 0,
    last_refusal   text        NOT NULL DEFAULT '',
    state          text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'stopped', 'done')),
    requested_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50); -- room for updates that touch no index
-- One at a time, so that nobody who asks twice has events sent twice.
CREATE UNIQUE INDEX outbox_replays_running_key ON outbox_replays (slot_name) WHERE state = 'running';

-- Before any slot: a slot that is older than its publication cannot be read.
CREATE PUBLICATION outbox_pub FOR TABLE outbox_events WITH (publish = 'insert', publish_via_partition_root = true);

---- create above / drop below ----

DROP PUBLICATION outbox_pub;
DROP TABLE outbox_replays;
DROP TABLE outbox_dead_letters;
DROP TABLE relay_checkpoints;
DROP TABLE outbox_events;
