package e2e_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

// TestAStatementTimeoutOfTheRoleStopsNothing: a count of the audit or a page of recovery would fail each time, for ever.
func TestAStatementTimeoutOfTheRoleStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders")
	w.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''20ms''', current_database()); END $$`)
	pool, err := control.OpenPool(t.Context(), func(context.Context) (*pgx.ConnConfig, error) { return pgx.ParseConfig(w.url) })
	w.must(err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), `SELECT pg_sleep(0.2)`)
	w.must(err)
}
