package deferral

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Rows of different partitions may have the same seq.
func TestAPassLooksAtAllRowsOfASeq(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	if _, err := pool.Exec(t.Context(), `
		CREATE TABLE numbered (seq bigint, xid xid8 DEFAULT pg_current_xact_id(), id text);
		INSERT INTO numbered
		SELECT (i + 2) / 3, pg_current_xact_id(), i FROM generate_series(1, 3000) AS i`); err != nil {
		t.Fatal(err)
	}
	table := outboxtable.Table{Schema: "public", Name: "numbered", Columns: outboxtable.Columns{
		ID: "id", EventType: "id", Payload: "id", Sequence: "seq", XID: "xid",
	}}
	store := NewStore(pool, slot.Fence{}, table.String(), time.Minute)
	now, err := store.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := pgsnapshot.Parse("3:3:")
	if err != nil {
		t.Fatal(err)
	}
	rows, looked, after := NewRows(store, table, nil), map[string]bool{}, int64(0)
	for {
		found, err := rows.next(t.Context(), &held{}, mark{nothing, 1}, now.Snapshot, after,
			func(e *outbox.Envelope, _ int64, _ bool) bool {
				looked[e.EventType] = true
				return true
			})
		if err != nil {
			t.Fatal(err)
		}
		if found.end {
			break
		}
		after = found.last
	}
	if len(looked) != 3000 {
		t.Errorf("the pass looked at %d of 3000 rows", len(looked))
	}
}

func TestAPassStaysBeforeAnUnsettledSeq(t *testing.T) {
	t.Parallel()
	f := newFlight(0, 0)
	first, second := &delivery.Event{}, &delivery.Event{}
	f.add(5, 1, first)
	first.Settled() // the other row with this seq is not added yet
	if passed := f.passed(); passed != 4 {
		t.Errorf("the pass is at %d, want 4", passed)
	}
	f.add(5, 1, second)
	f.add(9, 1, &delivery.Event{})
	second.Settled()
	if passed := f.passed(); passed != 8 {
		t.Errorf("the pass is at %d, want 8", passed)
	}
}
