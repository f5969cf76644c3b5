CREATE TABLE orders (
    id          uuid        PRIMARY KEY,
    customer_id text        NOT NULL CHECK (customer_id <> ''),
    currency    text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total       bigint      NOT NULL CHECK (total >= 0), -- minor units, as unit_price
    created_at  timestamptz NOT NULL
);

-- Rows rather than a json column of orders: Postgres checks each line, and what was sold can be asked in SQL.
CREATE TABLE order_lines (
    order_id   uuid    NOT NULL REFERENCES orders ON DELETE CASCADE,
    position   integer NOT NULL, -- from 1, as the client sent them
    sku        text    NOT NULL CHECK (sku <> ''),
    quantity   bigint  NOT NULL CHECK (quantity > 0),
    unit_price bigint  NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, position)
);

-- A row is written in the transaction of its order, so key and order exist both or not at all. The key goes in first:
-- a second request with the same key waits for it. That is why the reference is checked at commit. Rows of keys that
-- no client will send again may be deleted at any time.
CREATE TABLE order_idempotency_keys (
    key         text        PRIMARY KEY,
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32), -- SHA-256 of what was asked for
    order_id    uuid        NOT NULL REFERENCES orders ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX order_idempotency_keys_order_idx ON order_idempotency_keys (order_id);

---- create above / drop below ----

DROP TABLE order_idempotency_keys;
DROP TABLE order_lines;
DROP TABLE orders;
