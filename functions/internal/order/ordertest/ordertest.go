// Package ordertest creates databases for tests of code that stores orders.
package ordertest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	orders "github.com/outbox-relay/outbox-relay/functions/internal/order/migrations"
	outbox "github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// Migrate migrates both parts of the schema of the empty database at url, and returns url.
func Migrate(t testing.TB, url string) string {
	t.Helper()
	conn := Connect(t, url)
	for _, migrate := range []func(context.Context, *pgx.Conn) (from, to int32, err error){
		outbox.Migrate,
		orders.Migrate,
	} {
		if _, _, err := migrate(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

// Connect returns a connection that is closed when the test ends.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
