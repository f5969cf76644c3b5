package preflight

import "context"

// retention checks that the relay may remove rows.
func (d *database) retention(ctx context.Context) Findings {
	if !d.Removes {
		return nil
	}
	var found Findings
	for _, table := range []string{d.Table.Identifier(), "outbox_dead_letters"} {
		object := "table " + table
		var may bool
		// relayTables reports a table that does not exist.
		err := d.Pool.QueryRow(ctx, `
			SELECT coalesce(pg_catalog.has_table_privilege(to_regclass($1), 'DELETE'), true)`, table).Scan(&may)
		switch {
		case err != nil:
			found = append(found, unknown(CodeRetention, object, err))
		case !may:
			found = append(found, failed(CodeRetention, object, "table %s: RELAY_RETENTION is set, and role %s may "+
				"not delete rows: grant it, or set RELAY_RETENTION=0s", table, d.role).
				with("GRANT DELETE ON %s TO %s;", table, d.role))
		default:
			found = append(found, passed(CodeRetention, object, "table %s: old rows may be deleted", table))
		}
	}
	return found
}
