package recovery_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var table = outboxtable.Table{Schema: "public", Name: "outbox_events", Columns: outboxtable.Columns{
	ID: "id", Sequence: "seq", XID: "xid",
	AggregateType: "aggregate_type", AggregateID: "aggregate_id", EventType: "event_type",
	Payload: "payload", Headers: "headers", CreatedAt: "created_at",
}}

// everything is a recovery of all existing rows.
func everything(t *testing.T, pool *pgxpool.Pool) checkpoint.Recovery {
	t.Helper()
	r := checkpoint.Recovery{From: "3:3:"}
	must(t, pool.QueryRow(t.Context(), `SELECT pg_current_snapshot()::text`).Scan(&r.To))
	return r
}

// newTable returns a pool on a database with the outbox schema and n rows of this many bytes.
func newTable(t *testing.T, n, bytes int) *pgxpool.Pool {
	t.Helper()
	pool := outboxtest.NewPool(t)
	for _, sql := range []string{
		`ALTER TABLE outbox_events ALTER seq SET MINVALUE -100 SET START -100 RESTART`,
		`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'order', i::text, 'order.created', to_json(repeat('x', $2))
			FROM generate_series(1, $1) AS i`,
	} {
		var args []any
		if sql[0] == 'I' {
			args = []any{n, bytes}
		}
		_, err := pool.Exec(t.Context(), sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
		must(t, err)
	}
	return pool
}

func TestRowsAreReadOnceAndInOrder(t *testing.T) {
	t.Parallel()
	var ids []string
	publish := func(seq int64, e *outbox.Envelope) error {
		if fmt.Sprint(seq) != e.Sequence {
			t.Errorf("seq %d for row %s", seq, e.Sequence)
		}
		ids = append(ids, e.AggregateID)
		return nil
	}
	pool := newTable(t, 450, 10)
	must(t, recovery.NewReader(pool, "recovered", table).Each(t.Context(), everything(t, pool), 0, publish))
	if len(ids) != 450 || ids[0] != "1" || ids[99] != "100" || ids[449] != "450" {
		t.Errorf("read %d rows: %v", len(ids), ids)
	}
}

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
	page, _, err := recovery.NewReader(pool, "recovered", own).Page(t.Context(), -1000, "true")
	must(t, err)
	e := page[0]
	want := []string{"1       ", "t", "10.0.0.1", ""}
	if got := []string{e.AggregateID, e.AggregateType, e.EventType, e.Headers}; !slices.Equal(got, want) {
		t.Errorf("got %q, the stream brings %q", got, want)
	}
}

func TestPageOfLargeRowsIsShort(t *testing.T) {
	t.Parallel()
	reader := recovery.NewReader(newTable(t, 20, 1_000_000), "recovered", table)
	rows := 0
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
