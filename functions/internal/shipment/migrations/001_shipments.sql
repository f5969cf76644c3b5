-- One row for each parcel. An order may be sent in several parcels, so order_id is not unique: the
-- inbox ensures that one event writes one row.
CREATE TABLE shipments (
    id          uuid        PRIMARY KEY,
    order_id    uuid        NOT NULL,
    customer_id text        NOT NULL CHECK (customer_id <> ''),
    lines       integer     NOT NULL CHECK (lines > 0), -- number of lines of the order
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX shipments_order_idx ON shipments (order_id);

---- create above / drop below ----

DROP TABLE shipments;
