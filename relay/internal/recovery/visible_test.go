package recovery_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// TestRecoveryWaitsForACommitNotVisibleYet: the snapshot of a new slot is built from the log, so it
// can be ahead of the snapshots of other sessions.
func TestRecoveryWaitsForACommitNotVisibleYet(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	tx, err := pool.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	must(t, outbox.Insert(t.Context(), tx, outbox.Event{Type: "t", Payload: []byte(`{}`)}))
	var xid int64
	must(t, tx.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid))
	ahead := checkpoint.Recovery{From: "3:3:", To: fmt.Sprintf("%d:%[1]d:", xid+1)} // shows the row of tx

	published := make(chan string, 1)
	read := make(chan error, 1)
	go func() {
		read <- recovery.NewReader(pool, "recovered", table).Each(t.Context(), ahead, 0,
			func(_ int64, e *outbox.Envelope) error { published <- e.Payload; return nil })
	}()
	select {
	case err := <-read:
		t.Fatalf("the reader continued without the row: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	must(t, tx.Commit(t.Context()))
	must(t, <-read)
	if len(published) != 1 {
		t.Error("the row was not published")
	}
}

// TestRecoveryIgnoresLaterTransactions: such a transaction may run for days.
func TestRecoveryIgnoresLaterTransactions(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	tx, err := pool.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // the database goes with the test
	var xid int64
	must(t, tx.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid))
	for _, to := range []string{fmt.Sprintf("%d:%d:%[1]d", xid, xid+1), fmt.Sprintf("%d:%[1]d:", xid)} {
		recovered := checkpoint.Recovery{From: "3:3:", To: to}
		must(t, recovery.NewReader(pool, "recovered", table).Each(t.Context(), recovered, 0,
			func(int64, *outbox.Envelope) error { return nil }))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
