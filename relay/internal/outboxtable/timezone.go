package outboxtable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// lacksTimeZone reports whether a column, or the type below its domains, is timestamp without time
// zone.
var lacksTimeZone = `
	SELECT EXISTS (
		SELECT FROM pg_attribute a
		WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped
			AND ` + BaseTypeSQL("a.atttypid") + ` = 'timestamp'::regtype)`

// RequireTimeZone returns an error if times of a table cannot be compared with the moment of a
// flag, because they have no time zone. The relay's sessions would read them as UTC, and services
// write them in the zone of their own sessions.
func RequireTimeZone(ctx context.Context, pool *pgxpool.Pool, table Table, flag string) error {
	for _, one := range table.Each() {
		var lacks bool
		err := pool.QueryRow(ctx, lacksTimeZone, one.Identifier(), one.Columns.CreatedAt).Scan(&lacks)
		if err != nil {
			return fmt.Errorf("look at column %s of %s: %w", one.Columns.CreatedAt, one.Name, err)
		}
		if lacks {
			return fmt.Errorf("column %s (RELAY_COLUMN_CREATED_AT) of table %s.%s has no time zone, so with %s "+
				"events of some hours could be missed or repeated: give it the zone in which your services write it, "+
				"as in %s",
				one.Columns.CreatedAt, one.Schema, one.Name, flag, WithTimeZone(one))
		}
	}
	return nil
}

// WithTimeZone returns the statement that gives the times of a table their time zone. UTC in it is
// an example: only the services know the zone in which they were written.
func WithTimeZone(table Table) string {
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE timestamptz USING %[2]s AT TIME ZONE 'UTC';",
		table.Identifier(), Quote(table.Columns.CreatedAt))
}
