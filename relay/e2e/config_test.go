package e2e_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

// With such a timeout every count of the audit, and every page of a recovery, would fail.
func TestRelayIgnoresStatementTimeoutOfItsRole(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''20ms''', current_database());
		END $$`)
	pool, err := control.OpenPool(t.Context(), func(context.Context) (*pgx.ConnConfig, error) {
		return pgx.ParseConfig(w.url)
	})
	w.must(err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), `SELECT pg_sleep(0.2)`)
	w.must(err)
}
