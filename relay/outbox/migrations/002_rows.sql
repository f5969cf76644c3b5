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

---- create above / drop below ----

DROP INDEX outbox_dead_letters_row_seq_idx;
DROP INDEX outbox_dead_letters_row_key;
ALTER TABLE outbox_dead_letters
    DROP COLUMN slot_name, DROP COLUMN row_key, DROP COLUMN row_seq, DROP COLUMN row_event_id;
