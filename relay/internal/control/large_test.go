package control_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// TestNoConnectionKeepsALargeRow: its buffers would stay as long as the connection. Connections
// that carried small rows stay.
func TestNoConnectionKeepsALargeRow(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	pool, err := control.OpenPool(t.Context(), func(context.Context) (*pgx.ConnConfig, error) {
		return pgx.ParseConfig(url)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close(pool) })
	for name, c := range map[string]struct {
		query string
		arg   any
		kept  int32
	}{
		"a small row":      {`SELECT repeat('x', $1::integer)`, 1 << 10, 1},
		"a large row":      {`SELECT repeat('x', $1::integer)`, 5 << 20, 0},
		"a large argument": {`SELECT octet_length($1::text)::text`, strings.Repeat("x", 5<<20), 0},
	} {
		var text string
		if err := pool.QueryRow(t.Context(), c.query, c.arg).Scan(&text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for deadline := time.Now().Add(10 * time.Second); pool.Stat().TotalConns() != c.kept; {
			if time.Now().After(deadline) {
				t.Fatalf("after %s the pool has %d connections, want %d", name, pool.Stat().TotalConns(), c.kept)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
