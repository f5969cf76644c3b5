package deferral

import (
	"os"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// Routes compare the texts of the stream. A cast to text would drop the padding of char(n), and a
// pass would leave the row out and then count it as done.
func TestAPassRoutesByTheTextsOfTheStream(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	if _, err := pool.Exec(t.Context(), `
		CREATE TABLE padded (seq bigint PRIMARY KEY, xid xid8 DEFAULT pg_current_xact_id(), id text,
			kind char(8), aggregate char(6), payload text);
		INSERT INTO padded VALUES (1, DEFAULT, 'a', 'created', 'order', '{}')`); err != nil {
		t.Fatal(err)
	}
	table := outboxtable.Table{Schema: "public", Name: "padded", Columns: outboxtable.Columns{
		ID: "id", EventType: "kind", AggregateType: "aggregate", Payload: "payload", Sequence: "seq", XID: "xid",
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
	var seen outbox.Envelope
	found, err := NewRows(store, table, nil).next(t.Context(), &held{}, mark{nothing, 1}, now.Snapshot, 0,
		func(e *outbox.Envelope, _ int64, _ bool) bool {
			seen = *e
			return true
		})
	if err != nil || len(found.seqs) != 1 {
		t.Fatalf("found %v: %v", found, err)
	}
	if seen.EventType != "created " || seen.AggregateType != "order " {
		t.Errorf("routed by %q and %q", seen.EventType, seen.AggregateType)
	}
}
