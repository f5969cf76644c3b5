package preflight

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// column is one of the outbox table's.
type column struct {
	dataType string // as SQL has it
	filled   bool   // by the database, in every row
}

// outboxTable checks that the table exists and may be read, and reads its columns.
func (d *database) outboxTable(ctx context.Context) Findings {
	var exists, readable bool
	err := d.Pool.QueryRow(ctx, `
		SELECT to_regclass($1) IS NOT NULL, coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)`,
		d.identifier()).Scan(&exists, &readable)
	switch {
	case err != nil:
		return Findings{unknown(CodeTable, d.tableObject(), err)}
	case !exists:
		return Findings{failed(CodeTable, d.tableObject(), "table %s does not exist: create it with relay migrate, or name yours in RELAY_TABLE",
			d.tableName()).with("relay migrate")}
	case !readable:
		return Findings{failed(CodeTable, d.tableObject(), "table %s may not be read by role %s", d.tableName(), d.role).
			with("GRANT SELECT ON %s TO %s;", d.identifier(), d.role)}
	}
	if d.columns, err = d.readColumns(ctx); err != nil {
		return Findings{unknown(CodeTable, d.tableObject(), err)}
	}
	return Findings{passed(CodeTable, d.tableObject(), "table %s exists and may be read", d.tableName())}
}

func (d *database) readColumns(ctx context.Context) (map[string]column, error) {
	rows, err := d.Pool.Query(ctx, `
		SELECT attname, format_type(atttypid, NULL), attnotnull AND (atthasdef OR attidentity <> '') FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, d.identifier())
	if err != nil {
		return nil, fmt.Errorf("read its columns: %w", err)
	}
	columns := map[string]column{}
	var name string
	var c column
	_, err = pgx.ForEachRow(rows, []any{&name, &c.dataType, &c.filled}, func() error {
		columns[name] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read its columns: %w", err)
	}
	return columns, nil
}
