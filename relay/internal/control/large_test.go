package control_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func openPool(t *testing.T, turns *largemessage.Turns) *pgxpool.Pool {
	t.Helper()
	url := pgtest.NewDatabase(t)
	connect := func(context.Context) (*pgx.ConnConfig, error) { return pgx.ParseConfig(url) }
	pool, err := control.OpenPoolWith(t.Context(), connect, &control.Learned{}, turns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close(pool) })
	return pool
}

// TestNoConnectionKeepsALargeRow: its buffers would stay as long as the connection. Connections
// that carried small rows stay.
func TestNoConnectionKeepsALargeRow(t *testing.T) {
	t.Parallel()
	pool := openPool(t, nil)
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

// TestLargeRowsAreReceivedOneAtATime: the buffers of several could exceed the memory. A small row
// waits for none of them.
func TestLargeRowsAreReceivedOneAtATime(t *testing.T) {
	t.Parallel()
	pool := openPool(t, largemessage.New())
	query := func(bytes int) pgx.Rows {
		rows, err := pool.Query(t.Context(), `SELECT repeat('x', $1::integer)`, bytes)
		if err != nil || !rows.Next() {
			t.Errorf("a row of %d bytes: %v", bytes, err)
		}
		return rows
	}
	first := query(largemessage.Length)
	received := make(chan struct{})
	go func() {
		defer close(received)
		query(32 << 20).Close()
	}()
	for waits := 0; waits == 0; {
		select {
		case <-received:
			t.Fatal("two large rows were received at once")
		default:
		}
		waiting := `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event = 'ClientWrite' AND clock_timestamp() - query_start > '1 s'
				AND datname = current_database()`
		if err := pool.QueryRow(t.Context(), waiting).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	<-received
}
