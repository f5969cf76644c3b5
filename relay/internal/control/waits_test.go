package control_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
)

// notices records the notices for an operator.
type notices struct {
	mu     sync.Mutex
	peers  []string
	limits []time.Duration
}

func (n *notices) add(peer string, limit time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers, n.limits = append(n.peers, peer), append(n.limits, limit.Round(time.Second))
}

// is checks that there is one notice. A wait that begins late has a shorter limit.
func (n *notices) is(t *testing.T, peer string, limit time.Duration) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.peers) != 1 || n.peers[0] != "the database at "+peer || n.limits[0] > limit ||
		n.limits[0] < limit/3 {
		t.Errorf("the notices are %q, %v, want %q and %v", n.peers, n.limits, peer, limit)
	}
}

// mute returns the address of a server that accepts connections and never answers, and a Connect
// for it.
func mute(t *testing.T, parameters string) (address string, connect control.Connect) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	address = listener.Addr().String()
	return address, func(context.Context) (*pgx.ConnConfig, error) {
		return pgx.ParseConfig("postgres://u@" + address + "/x?sslmode=disable" + parameters)
	}
}

func TestAWaitForTheDatabaseIsReported(t *testing.T) {
	t.Parallel()
	address, connect := mute(t, "")
	var told notices
	pool, err := control.OpenWatchedPool(t.Context(), connect, told.add)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close(pool)
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second) // long after the notice
	defer cancel()
	if err := pool.Ping(ctx); err == nil {
		t.Error("a server that never answers answers")
	}
	told.is(t, address, 7*time.Second)
}

// TestACommandEndsItsConnect: the context of a command has no deadline.
func TestACommandEndsItsConnect(t *testing.T) {
	t.Parallel()
	address, connect := mute(t, "&connect_timeout=7")
	var ofPool, ofConnection notices
	pool, err := control.OpenWatchedPool(t.Context(), connect, ofPool.add)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close(pool)
	pinged := make(chan error, 1)
	go func() { pinged <- pool.Ping(t.Context()) }()
	if _, err := control.OpenConnection(t.Context(), connect, ofConnection.add); err == nil {
		t.Error("a connection to a server that never answers")
	}
	if err := <-pinged; err == nil {
		t.Error("a server that never answers answers")
	}
	ofPool.is(t, address, 7*time.Second)
	ofConnection.is(t, address, 7*time.Second)
}

// TestALongStatementIsReportedOnce: only the operator can end it.
func TestALongStatementIsReportedOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	var told notices
	pool, err := control.OpenWatchedPool(t.Context(),
		func(context.Context) (*pgx.ConnConfig, error) { return pgx.ParseConfig(url) }, told.add)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close(pool)
	for _, seconds := range []float64{0.1, 2.2, 5} {
		if _, err := pool.Exec(t.Context(), `SELECT pg_sleep($1)`, seconds); err != nil {
			t.Fatal(err)
		}
	}
	told.is(t, control.Database(&config.Config)[len("the database at "):], 0)
}
