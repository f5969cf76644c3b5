package inbox_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// addOld records n events of an hour ago.
func addOld(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `INSERT INTO inbox_events (consumer, event_id, recorded_at)
		SELECT 'shipping', 'old ' || n, now() - interval '1 hour' FROM generate_series(1, $1) n`, n)
	if err != nil {
		t.Fatal(err)
	}
}

func TestPruneRemovesOldIDsOnly(t *testing.T) {
	t.Parallel()
	pool, _ := newInbox(t)
	expect(t, pool, []inbox.Event{ofOrder("young", 1)}, []bool{true}, inbox.SkipStale())
	addOld(t, pool, 2500) // several steps
	for _, want := range []int64{2500, 0} {
		if removed, err := inbox.Prune(t.Context(), pool, 30*time.Minute); err != nil || removed != want {
			t.Errorf("removed %d, %v, want %d", removed, err, want)
		}
	}
	if n := count(t, pool, "inbox_events"); n != 1 || count(t, pool, "inbox_aggregates") != 1 {
		t.Errorf("%d events are left", n)
	}
	expect(t, pool, []inbox.Event{ofOrder("young", 1), {ID: "old 1"}}, []bool{false, true})
}

// TestPruneHoldsUpNoConsumer: an old id that a consumer records again, and ids that another call
// removes.
func TestPruneHoldsUpNoConsumer(t *testing.T) {
	t.Parallel()
	pool, url := newInbox(t)
	addOld(t, pool, 5000)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := inbox.Prune(t.Context(), pool, 30*time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close(context.Background()) }()
		for isNew := false; !isNew && err == nil; { // until the old id is removed
			isNew, err = record(t.Context(), conn, inbox.Event{ID: "old 4999"})
		}
		if err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	expect(t, pool, []inbox.Event{{ID: "old 4999"}}, []bool{false})
}

// TestPrunePassesOverLockedIDs: a consumer that reads the row of an old id keeps it locked.
func TestPrunePassesOverLockedIDs(t *testing.T) {
	t.Parallel()
	pool, url := newInbox(t)
	addOld(t, pool, 10)
	tx, err := connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM inbox_events WHERE event_id = 'old 3' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if removed, err := inbox.Prune(t.Context(), pool, time.Minute); err != nil || removed != 9 {
		t.Errorf("removed %d, %v", removed, err)
	}
}

func TestPruneRefusesHarmfulCalls(t *testing.T) {
	t.Parallel()
	pool, url := newInbox(t)
	addOld(t, pool, 1)
	for _, age := range []time.Duration{0, -time.Hour} {
		if _, err := inbox.Prune(t.Context(), pool, age); err == nil || !strings.Contains(err.Error(), "not positive") {
			t.Errorf("age %v: %v", age, err)
		}
	}
	tx, err := connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = inbox.Prune(t.Context(), tx, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "pass a pool") {
		t.Errorf("in a transaction: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inbox.Prune(ended, pool, time.Minute); err == nil {
		t.Error("no error after the end of the context")
	}
	if _, err := inbox.Prune(t.Context(), connect(t, pgtest.NewDatabase(t)), time.Minute); err == nil ||
		!strings.Contains(err.Error(), "001_inbox.sql") {
		t.Errorf("without tables: %v", err)
	}
	if n := count(t, pool, "inbox_events"); n != 1 {
		t.Errorf("%d ids are left", n)
	}
}
