// Package outboxtest creates databases for tests of code that uses the outbox schema.
package outboxtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
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
	pool, err := pgxpool.New(t.Context(), NewDatabase(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// NewDatabase returns the URL of a new database with the outbox schema, on a server of this major
// version or, for zero, on the usual one.
func NewDatabase(t testing.TB, version int) string {
	t.Helper()
	return pgtest.NewPreparedDatabase(t, version, func(ctx context.Context, conn *pgx.Conn) error {
		_, _, err := migrations.Migrate(ctx, conn)
		return err
	})
}
