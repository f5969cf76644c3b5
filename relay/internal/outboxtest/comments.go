package outboxtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// withoutComment lists the tables and columns of the schema that have no comment.
const withoutComment = `
	SELECT c.oid::regclass || coalesce('.' || a.attname, '')
	FROM pg_class c
	CROSS JOIN LATERAL (
		SELECT 0 AS attnum, NULL AS attname
		UNION ALL
		SELECT attnum, attname FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
	) AS a
	WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
	  AND coalesce(length(CASE a.attnum WHEN 0 THEN obj_description(c.oid, 'pg_class')
	               ELSE col_description(c.oid, a.attnum) END), 0) < 10`

// Database is a connection or a pool.
type Database interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// RequireComments fails the test unless every table of the schema, and every column of a table, has
// a comment. It returns the number of tables.
func RequireComments(t testing.TB, db Database) (tables int) {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = `+
		`current_schema()::regnamespace AND relkind = 'r'`)
	if err == nil {
		tables, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err = db.Query(t.Context(), withoutComment)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) != 0 {
		t.Errorf("no comment on %v, %v", names, err)
	}
	return tables
}
