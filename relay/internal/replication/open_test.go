package replication_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// slowWriter returns from each write only when the answer is there.
type slowWriter struct{ net.Conn }

func (s slowWriter) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	time.Sleep(200 * time.Millisecond)
	return n, err
}

// While a write is slow, pgconn reads in the background, and a read of its own waits for that one.
// The stream must not look for more behind a complete answer: it would wait until the server sends
// something else, which may be never.
func TestAnswerToASlowQueryIsReadAtOnce(t *testing.T) {
	t.Parallel()
	ctx, stream, _ := openSlowly(t)
	for range 3 {
		if pid, err := stream.BackendPID(ctx); err != nil || pid != stream.PID() {
			t.Fatalf("process %d, %v, want %d", pid, err, stream.PID())
		}
	}
}

func TestAStreamIsRestartedDespiteSlowWrites(t *testing.T) {
	t.Parallel()
	ctx, stream, admin := openSlowly(t)
	if _, err := admin.Exec(ctx, `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, slowSlot); err != nil {
		t.Fatal(err)
	}
	if err := stream.Start(ctx, 0); err != nil {
		t.Fatal(err)
	}
	stream.Confirm(1)
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(ctx, ignorant{}) }()
	for canceled := false; !canceled; {
		if _, err := admin.Exec(ctx, `SELECT pg_cancel_backend($1)`, stream.PID()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if canceled = errors.Is(err, replication.ErrCanceled); !canceled {
				t.Fatal(err)
			}
		case <-time.After(time.Second):
		}
	}
	if err := stream.Restart(ctx, replication.Unread); err != nil {
		t.Fatal(err)
	}
}

const slowSlot = "slow_writes"

// newDatabase returns the configuration of connections to a new database, and a superuser's
// connection to it.
func newDatabase(t *testing.T) (context.Context, *pgconn.Config, *pgx.Conn) {
	t.Helper()
	url := pgtest.NewDatabase(t)
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	admin, err := pgx.Connect(ctx, pgtest.SuperuserURL(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	return ctx, config, admin
}

// open opens a stream that the test closes.
func open(ctx context.Context, t *testing.T, config *pgconn.Config, slot, publication string) *replication.Stream {
	t.Helper()
	stream, err := replication.Open(ctx, replication.Config{
		Connection: config, Slot: slot, Publication: publication, SenderTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// openSlowly opens a stream whose writes are slow, and another connection.
func openSlowly(t *testing.T) (context.Context, *replication.Stream, *pgx.Conn) {
	t.Helper()
	ctx, config, admin := newDatabase(t)
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return slowWriter{conn}, err
	}
	stream := open(ctx, t, config, slowSlot, "none")
	t.Cleanup(stream.Close)
	return ctx, stream, admin
}

// ignorant is a handler that uses nothing of the stream.
type ignorant struct{}

func (ignorant) Ready() bool                     { return true }
func (ignorant) Wake() <-chan struct{}           { return nil }
func (ignorant) Flush()                          {}
func (ignorant) WALData(time.Time, []byte) error { return nil }
func (ignorant) Gather() time.Duration           { return 0 }
func (ignorant) Keepalive(pglogrepl.LSN)         {}
