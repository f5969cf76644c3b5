-- Events that are too long for a message wait in S3 (RELAY_LARGE_EVENTS_BUCKET), so the table takes
-- payloads of ten MiB, the default of RELAY_MAX_EVENT_BYTES. A relay without a bucket parks those
-- above one MiB. A table without this constraint stays as it is. NOT VALID spares the scan of rows
-- that were checked by the narrower constraint.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_constraint
               WHERE conrelid = 'outbox_events'::regclass AND conname = 'outbox_events_payload_check') THEN
        ALTER TABLE outbox_events
            DROP CONSTRAINT outbox_events_payload_check,
            ADD CONSTRAINT outbox_events_payload_check CHECK (octet_length(payload::text) <= 10485760) NOT VALID;
    END IF;
END
$$;

---- create above / drop below ----

-- Rows above one MiB stay. The constraint refuses new ones.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_constraint
               WHERE conrelid = 'outbox_events'::regclass AND conname = 'outbox_events_payload_check') THEN
        ALTER TABLE outbox_events
            DROP CONSTRAINT outbox_events_payload_check,
            ADD CONSTRAINT outbox_events_payload_check CHECK (octet_length(payload::text) <= 1048576) NOT VALID;
    END IF;
END
$$;
