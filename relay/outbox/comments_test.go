package outbox_test

import (
	"os"
	"strings"
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
		SELECT a.attnum, a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	) AS a
	WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
	  AND coalesce(length(col_description(c.oid, a.attnum)), length(obj_description(c.oid)) * (a.attnum = 0)::int,
	  	0) < 10`

func TestEveryTableAndColumnHasAComment(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	var tables int
	err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = `+
		`current_schema()::regnamespace AND relkind = 'r'`).Scan(&tables)
	if err != nil || tables < 6 {
		t.Fatalf("%d tables, %v", tables, err)
	}
	rows, err := conn.Query(t.Context(), withoutComment)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) != 0 {
		t.Errorf("no comment on %v, %v", names, err)
	}
}

// TestCommentsFailNoMigration: an outbox table may have got other names and another owner since.
func TestCommentsFailNoMigration(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("migrations/005_comments.sql")
	if err != nil {
		t.Fatal(err)
	}
	comments, _, _ := strings.Cut(string(file), "---- create above")
	for name, change := range map[string]string{
		"a renamed column": `ALTER TABLE outbox_events RENAME payload TO body`,
		"a renamed table":  `ALTER TABLE outbox_events RENAME TO events`,
		"a view in its name": `ALTER TABLE outbox_events RENAME TO events; CREATE VIEW outbox_events AS SELECT * ` +
			`FROM events`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := migrated(t)
			if _, err := conn.Exec(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), comments); err != nil {
				t.Error(err)
			}
		})
	}
}
