-- An operator requested the rows of this relation: the relay publishes them even if
-- RELAY_ON_SLOT_LOSS=halt stops it at rows that the log did not bring.
ALTER TABLE relay_members ADD COLUMN requested boolean NOT NULL DEFAULT false;

---- create above / drop below ----

ALTER TABLE relay_members DROP COLUMN requested;
