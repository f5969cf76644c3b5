package recovery_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var table = outboxtest.Table

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

// A table may leave the publication, and come back when the recovery has passed its seqs. The slot
// then brings rows that the recovery did not read.
func TestRowsOfATableThatCameBackAreNotPassed(t *testing.T) {
	t.Parallel()
	pool := newTable(t, 3, 10)
	exec := func(sql string) {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql)
		must(t, err)
	}
	exec(`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier)
		SELECT 'recovered', 'public.outbox_events', 1, system_identifier::text FROM pg_control_system()`)
	must(t, members.Register(t.Context(), pool, "recovered", table))
	passed := func() (rows int) {
		err := recovery.NewReader(pool, "recovered", table).Passed(t.Context(), everything(t, pool), 1000,
			func(*outbox.Envelope) { rows++ })
		must(t, err)
		return rows
	}
	if rows := passed(); rows != 3 {
		t.Errorf("%d rows of the table are passed, want 3", rows)
	}
	exec(`UPDATE relay_members SET accounted = false`)
	if rows := passed(); rows != 0 {
		t.Errorf("%d rows of a table that came back are passed, want none", rows)
	}
}
