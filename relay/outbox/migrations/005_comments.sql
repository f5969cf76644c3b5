-- Documents each table and column where a database shows it: \d+, catalogs, tools. An outbox
-- table whose columns were renamed, or that has another owner, keeps its own comments: a migration
-- must not fail for them.
DO $comments$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT t.oid::regclass AS relation, v.column_name, v.meaning
        FROM (VALUES
            ('outbox_events', NULL, 'The outbox: one row for each event, inserted in the transaction that makes the event true. The relay publishes the rows.'),
            ('outbox_events', 'id', 'Id of the event, chosen by the writer. Every delivery carries it, so consumers use it as their idempotency key.'),
            ('outbox_events', 'seq', 'Number of the row, filled in by the database. It orders the events of one aggregate if their writers are serialised.'),
            ('outbox_events', 'aggregate_type', 'Type of the aggregate, such as order. Type and id together are the message group at a FIFO destination.'),
            ('outbox_events', 'aggregate_id', 'Id of the aggregate, such as 4711. Events of one aggregate keep their order.'),
            ('outbox_events', 'event_type', 'Type of the event, such as order.created. Routes and subscriptions select by it.'),
            ('outbox_events', 'payload', 'Body of the message, delivered byte for byte: json and not jsonb, which does not keep bytes as written.'),
            ('outbox_events', 'headers', 'JSON object whose members become message attributes, as RELAY_HEADERS says.'),
            ('outbox_events', 'xid', 'Writing transaction, filled in by the database. After the loss of the slot it tells which rows may not have been delivered.'),
            ('outbox_events', 'created_at', 'Time of the event. Retention, replay and RELAY_START=since:… compare it.'),

            ('relay_checkpoints', NULL, 'What a relay knows after a crash: one row for each replication slot.'),
            ('relay_checkpoints', 'slot_name', 'Replication slot, as in RELAY_SLOT.'),
            ('relay_checkpoints', 'outbox_table', 'Outbox table that the slot streams, as schema.name.'),
            ('relay_checkpoints', 'epoch', 'Number that a relay raises when it acquires the slot. A write with an older epoch is refused.'),
            ('relay_checkpoints', 'system_identifier', 'Identifier of the database cluster. Positions and transaction ids mean nothing in another one.'),
            ('relay_checkpoints', 'flush_lsn', 'Position in the log: every event that ends at or before it is delivered, parked, or waiting in the outbox table under a stored deferral.'),
            ('relay_checkpoints', 'tx_commit_lsn', 'Commit position of the transaction that is being delivered.'),
            ('relay_checkpoints', 'tx_delivered', 'How many events of that transaction are delivered, parked, or waiting in the outbox table under a stored deferral, from its first one on.'),
            ('relay_checkpoints', 'tx_last_event_id', 'Id of the last of these events. The relay compares it before it continues inside the transaction.'),
            ('relay_checkpoints', 'horizon', 'Snapshot: every event whose transaction is visible in it is delivered, parked, or waiting in the outbox table under a stored deferral.'),
            ('relay_checkpoints', 'publication_fingerprint', 'Digest of the publication. Another one means that rows may not have been streamed.'),
            ('relay_checkpoints', 'recover_from', 'While a recovery is marked or runs: events visible in this snapshot need no publishing.'),
            ('relay_checkpoints', 'recover_to', 'While a recovery runs: the events visible in this snapshot, and not in recover_from, are published from the table.'),
            ('relay_checkpoints', 'recover_since', 'Where an operator gave a time: older rows count as delivered.'),
            ('relay_checkpoints', 'recovered_seq', 'The recovery has published the rows up to this seq.'),
            ('relay_checkpoints', 'recover_until', 'Position at which the recovery beside an intact slot ends: the slot brings every later commit. NULL where the slot was created for the recovery.'),
            ('relay_checkpoints', 'updated_at', 'Time of the last write of this row.'),

            ('outbox_dead_letters', NULL, 'Events that the relay parked instead of delivering them, with the reason. relay dead-letters works on them.'),
            ('outbox_dead_letters', 'position', 'Number of the dead letter, as relay dead-letters shows and takes it.'),
            ('outbox_dead_letters', 'event_id', 'Id of the event. A second dead letter of one id has a suffix here: row_event_id has the id itself.'),
            ('outbox_dead_letters', 'outbox_table', 'Outbox table of the event, as schema.name.'),
            ('outbox_dead_letters', 'destination', 'Topic or queue that did not accept the event.'),
            ('outbox_dead_letters', 'message_group', 'Message group of the event: its aggregate.'),
            ('outbox_dead_letters', 'blocks_group', 'Whether later events of the message group wait behind this one, and are parked too.'),
            ('outbox_dead_letters', 'code', 'Reason in one word: the error code of the destination, or one of the relay.'),
            ('outbox_dead_letters', 'reason', 'Reason as a sentence.'),
            ('outbox_dead_letters', 'attempts', 'How many times the event was sent before it was parked.'),
            ('outbox_dead_letters', 'event', 'The message as it would be sent, as JSON.'),
            ('outbox_dead_letters', 'state', 'parked; redriving: an operator asked for it and the relay sends it again; redriven: delivered after that; discarded: given up.'),
            ('outbox_dead_letters', 'redrives', 'How many times an operator asked for a redrive. The deduplication id contains it.'),
            ('outbox_dead_letters', 'parked_at', 'Time at which the event was parked.'),
            ('outbox_dead_letters', 'updated_at', 'Time of the last change of this row.'),
            ('outbox_dead_letters', 'slot_name', 'Replication slot of the relay that parked the event.'),
            ('outbox_dead_letters', 'row_key', 'Row of the outbox table: its seq, or its place in the log, with the writing transaction and the event id. NULL for an event that an older relay parked.'),
            ('outbox_dead_letters', 'row_seq', 'seq of the row. Retention keeps the row until the dead letter is redriven or discarded.'),
            ('outbox_dead_letters', 'row_event_id', 'Id of the event, without a suffix.'),

            ('outbox_replays', NULL, 'Requests to send delivered events again: one row for each relay replay --yes.'),
            ('outbox_replays', 'id', 'Number of the replay. Its messages carry it as the attribute replay.'),
            ('outbox_replays', 'slot_name', 'Replication slot whose relay sends the events.'),
            ('outbox_replays', 'outbox_table', 'Outbox table of the events, as schema.name.'),
            ('outbox_replays', 'seqs', 'Selection: events with these seqs. Of several conditions, all have to hold; NULL selects all.'),
            ('outbox_replays', 'since', 'Selection: events created at or after this time.'),
            ('outbox_replays', 'until', 'Selection: events created before this time.'),
            ('outbox_replays', 'aggregate_type', 'Selection: events of this type of aggregate.'),
            ('outbox_replays', 'aggregate_id', 'Selection: events of this aggregate.'),
            ('outbox_replays', 'horizon', 'Horizon at the time of the request. Events that are not visible in it were not known to be delivered, and are excluded.'),
            ('outbox_replays', 'last_seq', 'Highest seq at the time of the request. Later events are excluded.'),
            ('outbox_replays', 'rate', 'Events a second, at most.'),
            ('outbox_replays', 'events', 'How many events were selected.'),
            ('outbox_replays', 'passed_seq', 'Events up to this seq are sent or refused.'),
            ('outbox_replays', 'sent', 'How many events their destination accepted.'),
            ('outbox_replays', 'refused', 'How many events their destination refused.'),
            ('outbox_replays', 'last_refusal', 'The last refusal, as a sentence.'),
            ('outbox_replays', 'state', 'running, stopped or done. A slot has at most one running replay.'),
            ('outbox_replays', 'requested_at', 'Time of the request.'),
            ('outbox_replays', 'updated_at', 'Time of the last change of this row.'),

            ('relay_members', NULL, 'Relations whose rows are the rows of an outbox table: the table itself, or its partitions. Rows can enter the table with a partition, past the log.'),
            ('relay_members', 'slot_name', 'Replication slot of the relay that keeps this row.'),
            ('relay_members', 'relation', 'The table or partition, as in pg_class.oid.'),
            ('relay_members', 'system_identifier', 'Identifier of the database cluster. The oid means nothing in another one.'),
            ('relay_members', 'attached', 'Transactions that attached the relation, from the top. Another text means that it was attached again.'),
            ('relay_members', 'accounted', 'Whether every row that entered the table with the relation is published. Retention removes no row of the relation before that.'),
            ('relay_members', 'passed_seq', 'While rows are published: the rows up to this seq are done.'),
            ('relay_members', 'known', 'Snapshot: a row that a transaction visible in it wrote is accounted for, also while the relation is detached.'),
            ('relay_members', 'requested', 'Whether an operator asked for the rows, where RELAY_ON_SLOT_LOSS=halt stops the relay at them.'),
            ('relay_members', 'updated_at', 'Time of the last change of this row.'),

            ('outbox_schema_version', NULL, 'Version of these tables: the number of the newest migration that relay migrate has run.'),
            ('outbox_schema_version', 'version', 'Number of the newest migration.')
        ) AS v (table_name, column_name, meaning)
        JOIN pg_class t ON t.oid = to_regclass(v.table_name) AND t.relkind IN ('r', 'p') AND pg_has_role(t.relowner, 'USAGE')
        WHERE v.column_name IS NULL OR EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = v.column_name AND NOT a.attisdropped)
    LOOP
        IF c.column_name IS NULL THEN
            EXECUTE format('COMMENT ON TABLE %s IS %L', c.relation, c.meaning);
        ELSE
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', c.relation, c.column_name, c.meaning);
        END IF;
    END LOOP;
END
$comments$;

---- create above / drop below ----

-- The comments go with their tables, and harm no older version.
SELECT;
