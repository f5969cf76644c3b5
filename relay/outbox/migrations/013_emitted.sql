-- The prefix of the emitted messages that the relay of a slot reads (RELAY_EMITTED). The log alone
-- has them, so a relay with another prefix must not confirm the positions of this slot.
ALTER TABLE relay_checkpoints ADD COLUMN emitted text;
COMMENT ON COLUMN relay_checkpoints.emitted IS 'Prefix of pg_logical_emit_message whose messages the relay of this slot delivers (RELAY_EMITTED). NULL without messages, or if an operator gave up those that were not delivered.';

---- create above / drop below ----

ALTER TABLE relay_checkpoints DROP COLUMN emitted;
