package preflight

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// retention checks that the relay may remove what it is to remove, and that it can tell how old a row is.
func (d Database) retention(ctx context.Context) error {
	if !d.Removes {
		return nil
	}
	var problems []error
	for _, table := range []string{d.identifier(), "outbox_dead_letters"} {
		var may bool
		err := d.Pool.QueryRow(ctx, `
			SELECT coalesce(has_table_privilege(to_regclass($1), 'DELETE'), true)`, table).Scan(&may) // one that is missing is named elsewhere
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("table %s: %w", table, err))
		case !may:
			problems = append(problems, fmt.Errorf("table %s: RELAY_RETENTION is set, and rows may not be deleted: "+
				"GRANT DELETE ON %[1]s TO the relay's role, or set RELAY_RETENTION=0s", table))
		}
	}
	return errors.Join(append(problems, d.creationTime(ctx))...)
}

// creationTime checks the type of the column that tells how old a row is.
func (d Database) creationTime(ctx context.Context) error {
	column := d.Table.Columns.CreatedAt
	var dataType string
	err := d.Pool.QueryRow(ctx, `
		SELECT format_type(atttypid, NULL) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped`, d.identifier(), column).Scan(&dataType)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil // named elsewhere
	case err != nil:
		return fmt.Errorf("table %s: %w", d.tableName(), err)
	case dataType != "timestamp with time zone" && dataType != "timestamp without time zone":
		return fmt.Errorf("column %s (RELAY_COLUMN_CREATED_AT) is %s, which RELAY_RETENTION cannot compare: make it timestamptz, "+
			"or set RELAY_RETENTION=0s", column, dataType)
	}
	return nil
}
