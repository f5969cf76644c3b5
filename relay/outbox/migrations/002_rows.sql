-- A dead letter belongs to a row of the outbox table, whatever other rows share the id of its event. event_id stays
-- unique for each table and destination, because an older relay that runs beside names these three columns in its
-- ON CONFLICT. A second dead letter of one event id carries a suffix there, and row_event_id says the id.
ALTER TABLE outbox_dead_letters
    ADD COLUMN slot_name    text,
    -- the row: its seq, or its place in the log where the table has none, with the writing transaction and the event id;
    -- NULL for what an older relay parked
    ADD COLUMN row_key      text,
    ADD COLUMN row_seq      bigint,
    ADD COLUMN row_event_id text;
CREATE UNIQUE INDEX outbox_dead_letters_row_key ON outbox_dead_letters (outbox_table, slot_name, destination, row_key)
    WHERE row_key IS NOT NULL;
-- Retention and replay look for the dead letter of a row.
CREATE INDEX outbox_dead_letters_row_seq_idx ON outbox_dead_letters (outbox_table, row_seq)
    WHERE state IN ('parked', 'redriving') AND row_seq IS NOT NULL;

-- What can be known of the open ones: the slot where only one has the table, and the seq that stands for a missing id.
UPDATE outbox_dead_letters d
SET slot_name = (SELECT min(c.slot_name) FROM relay_checkpoints c WHERE c.outbox_table = d.outbox_table
                 HAVING count(*) = 1),
    row_seq = substring(d.event_id FROM '^seq:(-?[0-9]{1,18})$')::bigint
WHERE d.state IN ('parked', 'redriving');

-- The relations whose rows are the rows of an outbox table: the table itself, or its partitions. Rows can enter the table with
-- a partition that is attached, and the log says nothing of them.
CREATE TABLE relay_members (
    slot_name         text        NOT NULL,
    relation          oid         NOT NULL,
    system_identifier text        NOT NULL,
    -- the transactions that attached it, from the top: another text says that it was attached again
    attached          text        NOT NULL,
    -- until then the relay publishes those of its rows that the log did not bring, in order of seq, up to passed_seq by now
    accounted         boolean     NOT NULL,
    passed_seq        bigint,
    -- a row that a transaction wrote which is visible in it is accounted for, also while the relation is detached
    known             pg_snapshot,
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot_name, relation)
);

-- The partitions of today are accounted for as the horizon says; those that are attached from now on are not.
INSERT INTO relay_members (slot_name, relation, system_identifier, attached, accounted, known)
WITH RECURSIVE tree AS (
    SELECT c.slot_name, c.system_identifier, c.horizon, r.oid AS relation, '' AS attached, r.relkind, r.relpersistence
    FROM relay_checkpoints c JOIN pg_class r
      ON r.oid = to_regclass(format('%I.%I', split_part(c.outbox_table, '.', 1), split_part(c.outbox_table, '.', 2)))
    UNION ALL
    SELECT t.slot_name, t.system_identifier, t.horizon, r.oid, t.attached || '/' || i.xmin::text, r.relkind, r.relpersistence
    FROM tree t JOIN pg_inherits i ON i.inhparent = t.relation AND NOT i.inhdetachpending JOIN pg_class r ON r.oid = i.inhrelid
    WHERE t.relkind = 'p'
)
SELECT slot_name, relation, system_identifier, attached || CASE relpersistence WHEN 'p' THEN '' ELSE '/' || relpersistence::text END, true, horizon
FROM tree WHERE relkind <> 'p';

---- create above / drop below ----

DROP TABLE relay_members;
DROP INDEX outbox_dead_letters_row_seq_idx;
DROP INDEX outbox_dead_letters_row_key;
ALTER TABLE outbox_dead_letters
    DROP COLUMN slot_name, DROP COLUMN row_key, DROP COLUMN row_seq, DROP COLUMN row_event_id;
