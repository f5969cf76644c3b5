package preflight

import "context"

// relayTables checks that the relay may keep its checkpoint, its dead letters and the progress of a
// replay.
func (d *database) relayTables(ctx context.Context) Findings {
	var found Findings
	for _, table := range []string{"relay_checkpoints", "outbox_dead_letters", "outbox_replays", "relay_members", "relay_instances"} {
		found = append(found, d.relayTable(ctx, table))
	}
	if found.Err() == nil {
		found = append(found, d.schemaVersion(ctx))
	}
	return found
}

// schemaVersion checks that the tables are those of this relay or of a newer one: a newer schema
// serves older relays too.
func (d *database) schemaVersion(ctx context.Context) Finding {
	const object, table, column = "table relay_checkpoints", "relay_checkpoints", "gap_found_at" // of the newest migration that matters
	var current bool
	err := d.Pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2)`, table, column).Scan(&current)
	switch {
	case err != nil:
		return unknown(CodeRelayTables, object, err)
	case !current:
		return failed(CodeRelayTables, object, "table "+table+" has no column "+column+": the outbox schema is older than this relay").
			with("relay migrate")
	}
	return passed(CodeRelayTables, object, "the outbox schema is one that this relay works with")
}

func (d *database) relayTable(ctx context.Context, table string) Finding {
	object := "table " + table
	var exists, writable bool
	err := d.Pool.QueryRow(ctx, `
		SELECT to_regclass($1) IS NOT NULL, coalesce(has_table_privilege(to_regclass($1), 'SELECT')
		   AND has_table_privilege(to_regclass($1), 'INSERT') AND has_table_privilege(to_regclass($1), 'UPDATE'), false)`,
		table).Scan(&exists, &writable)
	switch {
	case err != nil:
		return unknown(CodeRelayTables, object, err)
	case !exists:
		return failed(CodeRelayTables, object, "table %s does not exist", table).with("relay migrate")
	case !writable:
		return failed(CodeRelayTables, object, "table %s may not be written by role %s", table, d.role).
			with("GRANT SELECT, INSERT, UPDATE ON %s TO %s;", table, d.role)
	}
	return passed(CodeRelayTables, object, "table %s may be written", table)
}
