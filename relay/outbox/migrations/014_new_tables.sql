-- The first transaction that began after a new table of several was found. Its earlier rows are
-- published once every transaction before it has ended. A later session of the relay continues with
-- it. An older relay ignores the column, and waits for transactions of its own session.
ALTER TABLE relay_members ADD COLUMN new_until xid8;
COMMENT ON COLUMN relay_members.new_until IS 'Next transaction id when the relation was found in a table that is new among several: the rows of before are published once the earlier transactions have ended. NULL for any other relation, and afterwards.';

---- create above / drop below ----

ALTER TABLE relay_members DROP COLUMN new_until;
