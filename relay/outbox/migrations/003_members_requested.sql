-- An operator asked for the rows of this relation: the relay publishes them also where RELAY_ON_SLOT_LOSS=halt stops it at
-- rows that the log did not bring.
ALTER TABLE relay_members ADD COLUMN requested boolean NOT NULL DEFAULT false;

---- create above / drop below ----

ALTER TABLE relay_members DROP COLUMN requested;
