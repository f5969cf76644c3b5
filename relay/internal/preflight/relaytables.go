package preflight

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// relayTables checks that the relay has its privileges on each of its own tables,
// [outboxtable.OwnTables], and that their schema is not older than the relay.
func (d *database) relayTables(ctx context.Context) Findings {
	var found Findings
	for _, table := range outboxtable.OwnTables {
		finding := d.relayTable(ctx, table.Name, table.Privileges)
		if table.Report && finding.Level == Error {
			finding.Level = Degraded
			finding.Explanation += ": relay status does not show this relay"
		}
		found = append(found, finding)
	}
	if found.Err() == nil {
		found = append(found, d.schemaVersion(ctx))
	}
	return found
}

// schemaVersion checks that the tables belong to this version of the relay or to a newer one. A
// newer schema serves older relays too.
func (d *database) schemaVersion(ctx context.Context) Finding {
	// The column belongs to the newest migration that the relay requires.
	const object, table, column = "table relay_members", "relay_members", "new_until"
	var current bool
	err := d.Pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2)`,
		table, column).Scan(&current)
	switch {
	case err != nil:
		return unknown(CodeRelayTables, object, err)
	case !current:
		return failed(CodeRelayTables, object,
			"table "+table+" has no column "+column+": the outbox schema is older than this relay").
			with("relay migrate")
	}
	return passed(CodeRelayTables, object, "the outbox schema fits this relay")
}

func (d *database) relayTable(ctx context.Context, table string, rights []string) Finding {
	object := "table " + table
	var exists bool
	var missing []string
	err := d.Pool.QueryRow(ctx, `
		SELECT to_regclass($1) IS NOT NULL, ARRAY(
			SELECT wanted FROM pg_catalog.unnest($2::text[]) WITH ORDINALITY AS needed (wanted, place)
			WHERE NOT pg_catalog.has_table_privilege(to_regclass($1), wanted) ORDER BY place)`,
		table, rights).Scan(&exists, &missing)
	switch {
	case err != nil:
		return unknown(CodeRelayTables, object, err)
	case !exists:
		return failed(CodeRelayTables, object, "table %s does not exist", table).with("relay migrate")
	case len(missing) > 0:
		return failed(CodeRelayTables, object, "role %s lacks privileges on table %s: %s",
			d.role, table, strings.Join(missing, ", ")).
			with("GRANT %s ON %s TO %s;", strings.Join(missing, ", "), table, d.role)
	}
	return passed(CodeRelayTables, object, "table %s may be written", table)
}
