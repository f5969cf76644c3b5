-- The caller that created the order, as the API identifies it. Empty for older orders, and for
-- requests without a signature.
ALTER TABLE orders ADD COLUMN caller text NOT NULL DEFAULT '';

-- Replaces order_idempotency_keys, whose keys are shared by all callers. That table remains for
-- functions of the previous version, which write to it during a rolling deployment. A later
-- migration drops it. The comments on that table apply here too.
CREATE TABLE order_request_keys (
    caller      text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32), -- SHA-256 of the draft
    order_id    uuid        NOT NULL REFERENCES orders ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(), -- a key expires 24 hours later
    PRIMARY KEY (caller, key)
);
CREATE INDEX order_request_keys_order_idx ON order_request_keys (order_id);
CREATE INDEX order_request_keys_created_idx ON order_request_keys (created_at);

---- create above / drop below ----

DROP TABLE order_request_keys;
ALTER TABLE orders DROP COLUMN caller;
