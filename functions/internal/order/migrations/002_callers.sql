-- Who made the order, as the API knows the caller. Empty for orders of before, and where no request is signed.
ALTER TABLE orders ADD COLUMN caller text NOT NULL DEFAULT '';

-- Takes the place of order_idempotency_keys, whose keys are those of all callers together. That table stays for functions of
-- before, which write it while a deployment rolls; a later migration drops it. Everything said there holds here too.
CREATE TABLE order_request_keys (
    caller      text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32), -- SHA-256 of what was asked for
    order_id    uuid        NOT NULL REFERENCES orders ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(), -- a key expires 24 hours later
    PRIMARY KEY (caller, key)
);
CREATE INDEX order_request_keys_order_idx ON order_request_keys (order_id);
CREATE INDEX order_request_keys_created_idx ON order_request_keys (created_at);

---- create above / drop below ----

DROP TABLE order_request_keys;
ALTER TABLE orders DROP COLUMN caller;
