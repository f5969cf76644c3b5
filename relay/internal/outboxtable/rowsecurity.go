package outboxtable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Querier is a pool or a connection.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// RowSecurity is a table whose row security applies to the role of the relay. With row_security =
// off Postgres answers every query on it with an error, whatever the policies say.
// https://www.postgresql.org/docs/current/ddl-rowsecurity.html
type RowSecurity struct {
	Table string // quoted for SQL
	Role  string // quoted for SQL
	Owner string // quoted for SQL
	Owned bool   // the role has the rights of the owner, on whom row security is forced
}

// Explanation describes the problem, and which alternatives to [RowSecurity.Statement] exist.
func (r RowSecurity) Explanation() string {
	text := fmt.Sprintf(
		"row security of table %s applies to the role %s: a policy could hide events that the log brings, so Postgres "+
			"refuses every read of the relay", r.Table, r.Role)
	if r.Owned {
		return text
	}
	return text + fmt.Sprintf(" (on a host where no role may grant BYPASSRLS: make %s a member of the owner %s)",
		r.Role, r.Owner)
}

// Statement lets the relay read all rows.
func (r RowSecurity) Statement() string {
	if r.Owned {
		return "ALTER TABLE " + r.Table + " NO FORCE ROW LEVEL SECURITY"
	}
	return "ALTER ROLE " + r.Role + " BYPASSRLS"
}

// FindRowSecurity returns the tables whose rows a policy could hide from this role: the outbox
// table, its partitions and the tables that inherit from it, which the relay also reads by
// themselves, and its own tables. It ignores tables that do not exist.
func FindRowSecurity(ctx context.Context, db Querier, table Table) ([]RowSecurity, error) {
	rows, err := db.Query(ctx, `
		WITH RECURSIVE outbox (oid) AS (
			SELECT to_regclass(named.name)::oid FROM pg_catalog.unnest($1::text[]) AS named (name)
			UNION SELECT i.inhrelid FROM outbox o JOIN pg_inherits i ON i.inhparent = o.oid
		), tables (oid) AS (
			SELECT oid FROM outbox
			UNION SELECT to_regclass(own.name)::oid FROM pg_catalog.unnest($2::text[]) AS own (name)
		)
		SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(current_user),
			pg_catalog.quote_ident(pg_get_userbyid(c.relowner)),
		       pg_has_role(c.relowner, 'USAGE')
		FROM tables t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE row_security_active(c.oid) ORDER BY 1`, table.identifiers(), requiredTables())
	if err != nil {
		return nil, fmt.Errorf("look for row security: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[RowSecurity])
	if err != nil {
		return nil, fmt.Errorf("look for row security: %w", err)
	}
	return found, nil
}
