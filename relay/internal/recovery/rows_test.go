package recovery_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// insertInto writes one row with an xid given as SQL. It returns that xid and the transaction that
// wrote the row.
func insertInto(t *testing.T, pool *pgxpool.Pool, xid string) (stored, writer int64) {
	t.Helper()
	must(t, pool.QueryRow(t.Context(), `
		INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
		VALUES (gen_random_uuid(), 'order', '1', 't', '{}', (`+xid+`)::text::xid8)
		RETURNING xid::text::bigint, xmin::text::bigint`).Scan(&stored, &writer))
	return stored, writer
}

func TestARowIsThereByXIDAndByWriter(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	for name, row := range map[string]struct {
		xid      string
		from, to func(w int64) string
		want     int
	}{
		"own, delivered":             {`pg_current_xact_id()`, upTo(0), upTo(0), 0},
		"own, not delivered":         {`pg_current_xact_id()`, upTo(-1), upTo(0), 1},
		"own, the stream brings it":  {`pg_current_xact_id()`, upTo(-1), upTo(-1), 0},
		"old, delivered":             {`'3'`, upTo(0), upTo(0), 0},
		"old, not delivered":         {`'3'`, upTo(-1), upTo(0), 1},
		"next, delivered":            {`pg_current_xact_id()::text::bigint + 1`, upTo(1), upTo(1), 0},
		"next, not delivered":        {`pg_current_xact_id()::text::bigint + 1`, upTo(-1), upTo(0), 1},
		"next, the stream brings it": {`pg_current_xact_id()::text::bigint + 1`, upTo(-1), upTo(-1), 0},
		"own, beside one that ran":   {`pg_current_xact_id()`, beside, upTo(0), 0},
		"old, beside one that ran":   {`'3'`, beside, upTo(0), 1},
	} {
		_, err := pool.Exec(t.Context(), `DELETE FROM outbox_events`)
		must(t, err)
		_, writer := insertInto(t, pool, row.xid)
		_, _ = insertInto(t, pool, `'4'`) // assigns the next id
		must(t, pool.QueryRow(t.Context(), `DELETE FROM outbox_events WHERE xid = '4' RETURNING 1`).Scan(new(int)))
		if got := readRows(t, pool, row.from(writer), row.to(writer)); got != row.want {
			t.Errorf("%s: %d rows are published, want %d", name, got, row.want)
		}
	}
}

// TestASavepointOfAnOpenTransactionIsStreamed: the id of a savepoint is above that of its
// transaction, and its row must not be read from the table.
func TestASavepointOfAnOpenTransactionIsStreamed(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	_, err := pool.Exec(t.Context(), `DO $$ BEGIN
		PERFORM pg_current_xact_id();
		BEGIN
			INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			VALUES (gen_random_uuid(), 'order', '1', 't', '{}');
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END $$`)
	must(t, err)
	var transaction, savepoint int64
	must(t, pool.QueryRow(t.Context(), `SELECT xid::text::bigint, xmin::text::bigint FROM outbox_events`).
		Scan(&transaction, &savepoint))
	if savepoint <= transaction {
		t.Fatalf("savepoint %d of transaction %d", savepoint, transaction)
	}
	running := fmt.Sprintf("%d:%d:%[1]d", transaction, savepoint+1)
	for to, want := range map[string]int{running: 0, upTo(0)(savepoint): 1} {
		if got := readRows(t, pool, recovery.NothingDelivered, to); got != want {
			t.Errorf("to %s: %d rows are published, want %d", to, got, want)
		}
	}
}

// upTo returns a snapshot of all transactions up to n above the writer.
func upTo(n int64) func(writer int64) string {
	return func(writer int64) string { return fmt.Sprintf("%d:%[1]d:", writer+n+1) }
}

// beside returns a snapshot of all transactions up to the writer, except the one before it.
func beside(writer int64) string { return fmt.Sprintf("%d:%d:%[1]d", writer-1, writer+1) }

func readRows(t *testing.T, pool *pgxpool.Pool, from, to string) (rows int) {
	t.Helper()
	recovered := checkpoint.Recovery{From: from, To: to}
	must(t, recovery.NewReader(pool, "recovered", table).Each(t.Context(), recovered, 0,
		func(int64, *outbox.Envelope) error {
			rows++
			return nil
		}))
	return rows
}
