-- Destinations to which an operator has the relay send nothing: one row for each, until relay
-- resume. The relay defers such a destination.
CREATE TABLE outbox_pauses (
    slot_name   text        NOT NULL,
    destination text        NOT NULL,
    reason      text        NOT NULL DEFAULT '',
    paused_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at    timestamptz,
    PRIMARY KEY (slot_name, destination)
);

COMMENT ON TABLE outbox_pauses IS 'Destinations that an operator has paused: one row for each, from relay pause to relay resume.';
COMMENT ON COLUMN outbox_pauses.slot_name IS 'Replication slot whose relay sends nothing to the destination.';
COMMENT ON COLUMN outbox_pauses.destination IS 'Topic or queue that is paused.';
COMMENT ON COLUMN outbox_pauses.reason IS 'Why it is paused, in the words of the operator.';
COMMENT ON COLUMN outbox_pauses.paused_at IS 'Time of the request.';
COMMENT ON COLUMN outbox_pauses.taken_at IS 'Time at which the last request to the destination had ended and its events waited in the outbox table. NULL before that.';

---- create above / drop below ----

-- An older relay would send to a destination that is paused.
DO $$
BEGIN
    IF EXISTS (SELECT FROM outbox_pauses) THEN
        RAISE EXCEPTION 'a destination is paused: end its pause with relay resume first';
    END IF;
END
$$;
DROP TABLE outbox_pauses;
