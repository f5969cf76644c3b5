package tablereader_test

import (
	"os"
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/tablereader"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var table = outboxtest.Table

// TestRowsReadAsTheStreamBringsThem: a cast to text differs from a type's output function. The cast
// removes the padding of char(n), writes a boolean as a word, and adds a netmask to an address.
func TestRowsReadAsTheStreamBringsThem(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	_, err := pool.Exec(t.Context(), `
		CREATE TABLE own AS SELECT gen_random_uuid() AS id, 1::bigint AS seq, '7'::xid8 AS xid,
			true AS aggregate_type, '1'::char(8) AS aggregate_id, '10.0.0.1'::inet AS event_type,
			'{}'::text AS payload, NULL::json AS headers, now() AS created_at`)
	must(t, err)
	own := table
	own.Name = "own"
	page, _, err := tablereader.New(pool, own).Page(t.Context(), -1000, "true")
	must(t, err)
	e := page[0]
	want := []string{"1       ", "t", "10.0.0.1", ""}
	if got := []string{e.AggregateID, e.AggregateType, e.EventType, e.Headers}; !slices.Equal(got, want) {
		t.Errorf("got %q, the stream brings %q", got, want)
	}
}

func TestPageOfLargeRowsIsShort(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', i::text, 'order.created', to_json(repeat('x', 1000000))
		FROM generate_series(1, 20) AS i`)
	must(t, err)
	reader, rows := tablereader.New(pool, table), 0
	for after := int64(-1000); ; {
		page, last, err := reader.Page(t.Context(), after, "true")
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > 5 {
			t.Errorf("%d rows of 1 MB were read at once", len(page))
		}
		if len(page) == 0 {
			break
		}
		rows, after = rows+len(page), last
	}
	if rows != 20 {
		t.Errorf("read %d of 20 rows", rows)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
