package outboxtable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Unlogged is an outbox table or a partition of one whose rows are never in the log. Postgres
// refuses such a table in a list of a publication. It accepts it below a published parent, and in a
// publication of all tables or of a schema, which then excludes it without an error.
// https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-UNLOGGED
type Unlogged struct {
	Relation    uint32 // oid
	Table       string // quoted for SQL
	IsPartition bool
	// IsParent is true of a partitioned table, which has no rows of its own. Only Postgres 17 and
	// older accept an unlogged one, and none makes it logged.
	IsParent bool
	// IsInPublication is false if the publication would not have the table if it was logged.
	IsInPublication bool
}

// Explanation describes the fault and its effect on the rows.
func (u Unlogged) Explanation() string {
	kind := "table "
	if u.IsPartition {
		kind = "partition "
	}
	text := kind + u.Table + " is UNLOGGED, so its rows are never in the log, and a crash of the server or a " +
		"failover empties it. "
	if u.IsParent {
		return text + "No publication has such a partitioned table, and no statement changes it: create it again " +
			"without UNLOGGED, and attach its partitions"
	}
	return text + "A relay that ran when it became UNLOGGED publishes the rows once it is LOGGED. If none ran, then " +
		"run relay recover --yes before a relay starts"
}

// Statement makes the table logged, or is empty if none does. It rewrites the table.
func (u Unlogged) Statement() string {
	if u.IsParent {
		return ""
	}
	return "ALTER TABLE " + u.Table + " SET LOGGED"
}

// String is the explanation with the statement.
func (u Unlogged) String() string {
	if statement := u.Statement(); statement != "" {
		return u.Explanation() + ": " + statement
	}
	return u.Explanation()
}

// unlogged lists the unlogged tables among those with some names, and their partitions.
const unlogged = `
	WITH RECURSIVE tree AS (
		SELECT n.nspname, c.relname, c.oid, c.relkind, c.relpersistence, 0 AS level,
			coalesce(p.puballtables OR r.oid IS NOT NULL OR s.oid IS NOT NULL, false) AS published
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_publication p ON p.pubname = $3
		LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
		LEFT JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = n.oid
		WHERE c.relname = ANY ($2) AND c.relkind IN ('r', 'p') AND ($1 = '' AND NOT c.relispartition OR n.nspname = $1)
		UNION ALL
		SELECT t.nspname, t.relname, c.oid, c.relkind, c.relpersistence, t.level + 1, t.published
		FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid
		WHERE t.relkind = 'p'
	)
	SELECT t.nspname, t.relname, t.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), t.level > 0,
	       t.relkind = 'p', t.published
	FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE t.relpersistence = 'u' AND t.relkind IN ('r', 'p') AND (t.relkind = 'r' OR t.level = 0) ORDER BY t.level, 4`

// FindUnlogged returns the unlogged ones of the outbox tables and of their partitions. Of several
// tables it also returns those that the publication excludes only because they are unlogged.
func FindUnlogged(ctx context.Context, db Querier, publication string, table Table) ([]Unlogged, error) {
	schema, names := table.Schema, []string{table.Name}
	if table.IsSeveral() {
		schema, names = "", table.Several.TableNames()
	}
	rows, err := db.Query(ctx, unlogged, schema, names, publication)
	if err != nil {
		return nil, fmt.Errorf("look for unlogged tables: %w", err)
	}
	var rootSchema, root string
	var u Unlogged
	var found []Unlogged
	scanned := []any{&rootSchema, &root, &u.Relation, &u.Table, &u.IsPartition, &u.IsParent, &u.IsInPublication}
	_, err = pgx.ForEachRow(rows, scanned, func() error {
		if table.Has(rootSchema, root) && (u.IsInPublication || !table.IsSeveral()) {
			found = append(found, u)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for unlogged tables: %w", err)
	}
	return found, nil
}
