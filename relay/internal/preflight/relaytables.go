package preflight

import "context"

// relayTables checks that the relay may keep its checkpoint, its dead letters and the progress of a replay.
func (d *database) relayTables(ctx context.Context) Findings {
	var found Findings
	for _, table := range []string{"relay_checkpoints", "outbox_dead_letters", "outbox_replays"} {
		found = append(found, d.relayTable(ctx, table))
	}
	return found
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
