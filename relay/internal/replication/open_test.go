package replication_test

import (
	"context"
	"net"
	"testing"
	"time"

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
	config, err := pgconn.ParseConfig(pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return slowWriter{conn}, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := replication.Open(ctx, replication.Config{Connection: config, SenderTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for range 3 {
		if pid, err := stream.BackendPID(ctx); err != nil || pid != stream.PID() {
			t.Fatalf("process %d, %v, want %d", pid, err, stream.PID())
		}
	}
}
