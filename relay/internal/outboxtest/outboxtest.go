// Package outboxtest creates databases for tests of code that uses the outbox schema.
package outboxtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// Table is the outbox table of the schema, with all of its columns.
var Table = outboxtable.Table{Schema: "public", Name: "outbox_events", Columns: outboxtable.Columns{
	ID: "id", Sequence: "seq", XID: "xid",
	AggregateType: "aggregate_type", AggregateID: "aggregate_id", EventType: "event_type",
	Payload: "payload", Headers: "headers", CreatedAt: "created_at",
}}

// NewPool returns a connection pool for a new database with the outbox schema. The pool is closed
// when the test ends.
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
