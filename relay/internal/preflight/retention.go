package preflight

import "context"

// retention checks that the relay may remove rows.
func (d *database) retention(ctx context.Context) Findings {
	if !d.Removes {
		return nil
	}
	var found Findings
	for _, table := range []string{d.identifier(), "outbox_dead_letters"} {
		object := "table " + table
		var may bool
		err := d.Pool.QueryRow(ctx, `
			SELECT coalesce(has_table_privilege(to_regclass($1), 'DELETE'), true)`, table).Scan(&may) // one that is missing is a finding already
		switch {
		case err != nil:
			found = append(found, unknown(CodeRetention, object, err))
		case !may:
			found = append(found, failed(CodeRetention, object, "table %s: RELAY_RETENTION is set, and role %s may not delete rows: grant it, or "+
				"set RELAY_RETENTION=0s", table, d.role).with("GRANT DELETE ON %s TO %s;", table, d.role))
		default:
			found = append(found, passed(CodeRetention, object, "table %s: old rows may be deleted", table))
		}
	}
	return found
}

// creationTime checks the type of the column that tells how old a row is.
func (d *database) creationTime(context.Context) Findings {
	name := d.Table.Columns.CreatedAt
	c, exists := d.columns[name]
	if !d.Removes || !exists { // a missing one is a finding already
		return nil
	}
	if c.dataType != "timestamp with time zone" && c.dataType != "timestamp without time zone" {
		return Findings{failed(CodeCreatedAt, d.columnObject(name), "column %s (RELAY_COLUMN_CREATED_AT) is %s, which RELAY_RETENTION cannot "+
			"compare: make it timestamptz, or set RELAY_RETENTION=0s", name, c.dataType)}
	}
	return Findings{passed(CodeCreatedAt, d.columnObject(name), "column %s is %s", name, c.dataType)}
}
