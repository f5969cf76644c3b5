package audit_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var outboxTable = outboxtable.Table{Schema: "public", Name: "outbox_events", Columns: outboxtable.Columns{XID: "xid"}}

const insert = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, xid)
	SELECT gen_random_uuid(), 'order', '1', 'order.created', '{}', x::text::xid8 FROM `

// TestACountHasTheRowsOfTheStepAndNoOthers compares the count with the transaction of each row, for
// all kinds of steps.
func TestACountHasTheRowsOfTheStepAndNoOthers(t *testing.T) {
	t.Parallel()
	const last = 200
	pool := outboxtest.NewPool(t)
	exec(t, pool, insert+`generate_series(1, $1) AS x, generate_series(1, 1 + x % 3)`, last)
	table := audit.NewTable(pool, outboxTable)
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		baseline := uint64(r.IntN(last))
		from := baseline + uint64(r.IntN(60))
		running := randomXIDs(r, from)
		l := audit.NewLedger()
		l.Begin(baseline)
		l.Expect(snapshot(t, fmt.Sprintf("1:%d:%s", from, join(running))))
		l.Settle()
		still := running[:r.IntN(len(running)+1)]
		l.Expect(snapshot(t, fmt.Sprintf("1:%d:%s", from+uint64(r.IntN(60)), join(still))))
		step, _ := l.Step()
		var want int64
		for xid := uint64(1); xid <= last; xid++ {
			if step.Has(xid) {
				want += int64(1 + xid%3)
			}
		}
		got, err := table.Count(t.Context(), step)
		must(t, err)
		if got != want {
			t.Fatalf("above %d, from %s to %s: %d rows, want %d", baseline, step.From, step.To, got, want)
		}
	}
}

// TestBaselineIsAboveEveryStartedTransaction: a transaction whose commit is in the log but not
// visible yet may have been delivered by another session, and the current snapshot does not show
// it.
func TestBaselineIsAboveEveryStartedTransaction(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	running, err := pool.Begin(t.Context())
	must(t, err)
	defer running.Rollback(t.Context()) //nolint:errcheck // dropped with the database
	var xid int64
	must(t, running.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid))
	baseline, err := audit.BaselineOf(t.Context(), pool, outboxTable)
	must(t, err)
	if baseline.XID <= uint64(xid) || baseline.Imported {
		t.Errorf("%+v, and transaction %d has begun", baseline, xid)
	}
}

// TestImportedRowsAreExcluded: this cluster has not assigned their transaction ids yet.
func TestImportedRowsAreExcluded(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	exec(t, pool, insert+`unnest('{7,4000000000000,5000000000000}'::text[]) AS x`)
	baseline, err := audit.BaselineOf(t.Context(), pool, outboxTable)
	must(t, err)
	if want := (audit.Baseline{XID: 5000000000000, Imported: true}); baseline != want {
		t.Errorf("%+v, want %+v", baseline, want)
	}
}

func TestOnlyACompleteIndexOnXIDCounts(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	for _, c := range []struct {
		change string
		want   bool
	}{
		{`SELECT`, true},
		{`DROP INDEX outbox_events_xid_idx`, false},
		{`CREATE INDEX ON outbox_events (seq, xid)`, false},
		{`CREATE INDEX ON outbox_events USING hash (xid)`, false},
		{`CREATE INDEX ON outbox_events (xid) WHERE seq > 7`, false},
		{`CREATE INDEX ON outbox_events (xid, seq)`, true},
	} {
		exec(t, pool, c.change)
		got, err := audit.IsIndexed(t.Context(), pool, outboxTable)
		must(t, err)
		if got != c.want {
			t.Errorf("after %s: %v", c.change, got)
		}
	}
}

// TestACountIsShortInABigTable: the plan reads only the step's range of the index, even if a
// transaction holds xmin back.
func TestACountIsShortInABigTable(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	exec(t, pool, insert+`generate_series(1, 100000) AS x`)
	exec(t, pool, `ANALYZE outbox_events`)
	conn, err := pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		_, err := conn.Exec(t.Context(), `SET plan_cache_mode = `+mode)
		must(t, err)
		plan := explain(t, conn, audit.CountSQL(outboxTable), "99000", "99100", "5:99100:5,99050", []string{"5", "70"})
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Rows Removed by Filter: 99") {
			t.Errorf("%s:\n%s", mode, plan)
		}
	}
}

func explain(t *testing.T, conn *pgxpool.Conn, sql string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `EXPLAIN ANALYZE `+sql, args...)
	must(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return strings.Join(lines, "\n")
}

func randomXIDs(r *rand.Rand, below uint64) (xids []uint64) {
	for xid := uint64(1); xid < below; xid++ {
		if r.IntN(8) == 0 {
			xids = append(xids, xid)
		}
	}
	return xids
}

func join(xids []uint64) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(xids), "[]"), " ", ",")
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
