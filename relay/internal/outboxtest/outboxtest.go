// Package outboxtest makes databases for tests of what reads and writes the outbox.
package outboxtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// NewPool returns connections to a database of its own that has the outbox schema. They are closed when the test ends.
func NewPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	err = pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		_, _, err := migrations.Migrate(t.Context(), c.Conn())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}
