package deferral

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
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

// TestAPassBeginsAtTheFirstRowThatMayWait: while a transaction is open, what was delivered since it
// began is not looked at again. Its own row lies before that.
func TestAPassBeginsAtTheFirstRowThatMayWait(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	table := outboxtable.Table{Schema: "public", Name: "small", Columns: outboxtable.Columns{
		ID: "id", EventType: "id", Payload: "id", Sequence: "seq", XID: "xid",
	}}
	write := func(db interface {
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	}, seq int,
	) {
		if _, err := db.Exec(t.Context(), `INSERT INTO small VALUES ($1, DEFAULT, 'a')`, seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), `
		CREATE TABLE small (seq bigint PRIMARY KEY, xid xid8 DEFAULT pg_current_xact_id(), id text);
		CREATE INDEX ON small (xid)`); err != nil {
		t.Fatal(err)
	}
	old, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Rollback(context.WithoutCancel(t.Context())) }()
	write(old, 2)
	write(pool, 1)
	write(pool, 3)
	store := NewStore(pool, slot.Fence{}, table.String(), time.Minute)
	to, err := store.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, rows := shown(t, to.Snapshot), NewRows(store, table, nil)
	expect := func(fromSeq, want int64) {
		t.Helper()
		if first, err := rows.first(t.Context(), &held{}, mark{known, fromSeq}); err != nil || first != want {
			t.Errorf("a pass from seq %d begins at seq %d, want %d: %v", fromSeq, first, want, err)
		}
	}
	expect(endless, endless)
	write(pool, 4)
	expect(endless, 4)
	expect(3, 3)
	if err := old.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(endless, 2)
}

// The type of an aggregate may have any text. Only a relay with several tables stores a table in
// front of it.
func TestAPassFindsRowsOfAnyAggregateType(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE events (seq bigint PRIMARY KEY,
		xid xid8 DEFAULT pg_current_xact_id(), id text, type text, aggregate text, payload text)`); err != nil {
		t.Fatal(err)
	}
	table := outboxtable.Table{Schema: "public", Name: "events", Columns: outboxtable.Columns{
		ID: "id", EventType: "id", AggregateType: "type", AggregateID: "aggregate", Payload: "payload",
		Sequence: "seq", XID: "xid",
	}}
	store := NewStore(pool, slot.Fence{}, table.String(), time.Minute)
	nothing, err := pgsnapshot.Parse("3:3:")
	if err != nil {
		t.Fatal(err)
	}
	for i, aggregateType := range []string{"a\x1fb", "public.events/b", `"a/b`, "12:a"} {
		if _, err := pool.Exec(t.Context(), `INSERT INTO events VALUES ($1, DEFAULT, 'a', $2, '1', '{}')`,
			i+1, aggregateType); err != nil {
			t.Fatal(err)
		}
		now, err := store.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := &held{stored: Deferral{Destination: "A", AggregateType: aggregateType, AggregateID: "1"}}
		found, err := NewRows(store, table, nil).next(t.Context(), h, mark{nothing, 1}, now.Snapshot, 0,
			func(*outbox.Envelope, int64, bool) bool { return true })
		if err != nil || len(found.seqs) != 1 || found.seqs[0] != int64(i+1) {
			t.Errorf("of %q found %v: %v", aggregateType, found, err)
		}
		e := outbox.Envelope{AggregateType: aggregateType, AggregateID: "1"}
		if group := h.stored.place().key().group; group != route.Group(&e, nil) {
			t.Errorf("%q has the group %q", aggregateType, group)
		}
	}
}
