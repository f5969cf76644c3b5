-- A dead letter belongs to one row of the outbox table, even if other rows have the same event id.
-- event_id stays unique for each table and destination, because an older relay that runs at the
-- same time names these three columns in its ON CONFLICT. A second dead letter of one event id has
-- a suffix in event_id, and row_event_id holds the original id.
ALTER TABLE outbox_dead_letters
    ADD COLUMN slot_name    text,
    -- the row: its seq, or without a seq its position in the log, with the writing transaction and
    -- the event id; NULL for a dead letter of an older relay
    ADD COLUMN row_key      text,
    ADD COLUMN row_seq      bigint,
    ADD COLUMN row_event_id text;
CREATE UNIQUE INDEX outbox_dead_letters_row_key ON outbox_dead_letters (outbox_table, slot_name, destination, row_key)
    WHERE row_key IS NOT NULL;
-- Retention and replay search for the dead letter of a row.
CREATE INDEX outbox_dead_letters_row_seq_idx ON outbox_dead_letters (outbox_table, row_seq)
    WHERE state IN ('parked', 'redriving') AND row_seq IS NOT NULL;

-- Fills the new columns of open dead letters as far as they are known: the slot if only one slot
-- has the table, and the seq that replaces a missing event id.
UPDATE outbox_dead_letters d
SET slot_name = (SELECT min(c.slot_name) FROM relay_checkpoints c WHERE c.outbox_table = d.outbox_table
                 HAVING count(*) = 1),
    row_seq = substring(d.event_id FROM '^seq:(-?[0-9]{1,18})$')::bigint
WHERE d.state IN ('parked', 'redriving');

-- The relations that hold the rows of an outbox table: the table itself, or its partitions.
-- Attaching a partition adds rows to the table that are not in the log.
CREATE TABLE relay_members (
    slot_name         text        NOT NULL,
    relation          oid         NOT NULL,
    system_identifier text        NOT NULL,
    -- the transactions that attached it, from the top: a different text means that it was attached
    -- again
    attached          text        NOT NULL,
    -- false: the relay publishes the rows that the log did not bring, in order of seq, and has come
    -- to passed_seq
    accounted         boolean     NOT NULL,
    passed_seq        bigint,
    -- a row is accounted for if its writing transaction is visible in this snapshot, even while the
    -- relation is detached
    known             pg_snapshot,
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot_name, relation)
);

-- The existing partitions are accounted for up to the horizon. Partitions that are attached later
-- are not.
INSERT INTO relay_members (slot_name, relation, system_identifier, attached, accounted, known)
WITH RECURSIVE tree AS (
    SELECT c.slot_name, c.system_identifier, c.horizon, r.oid AS relation, '' AS attached, r.relkind, r.relpersistence
    FROM relay_checkpoints c JOIN pg_class r
      ON r.oid = to_regclass(format('%I.%I', split_part(c.outbox_table, '.', 1), split_part(c.outbox_table, '.', 2)))
    UNION ALL
    SELECT t.slot_name, t.system_identifier, t.horizon, r.oid, t.attached || '/' || i.xmin::text, r.relkind,
           r.relpersistence
    FROM tree t JOIN pg_inherits i ON i.inhparent = t.relation AND NOT i.inhdetachpending
         JOIN pg_class r ON r.oid = i.inhrelid
    WHERE t.relkind = 'p'
)
SELECT slot_name, relation, system_identifier,
       attached || CASE relpersistence WHEN 'p' THEN '' ELSE '/' || relpersistence::text END, true, horizon
FROM tree WHERE relkind <> 'p';

---- create above / drop below ----

DROP TABLE relay_members;
DROP INDEX outbox_dead_letters_row_seq_idx;
DROP INDEX outbox_dead_letters_row_key;
ALTER TABLE outbox_dead_letters
    DROP COLUMN slot_name, DROP COLUMN row_key, DROP COLUMN row_seq, DROP COLUMN row_event_id;
