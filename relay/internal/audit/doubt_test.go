package audit_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// keyedTable is the outbox table with the columns that identify a row.
var keyedTable = outboxtable.Table{
	Schema: "public", Name: "outbox_events", Columns: outboxtable.Columns{ID: "id", Sequence: "seq", XID: "xid"},
}

// read adds every row of the table for which condition holds, as if the stream had brought it.
func read(t *testing.T, pool *pgxpool.Pool, recent *audit.Recent, condition string) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT xid::text, seq::text, id::text FROM outbox_events WHERE `+condition)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var xid, seq, id string
		must(t, rows.Scan(&xid, &seq, &id))
		number, err := pgsnapshot.ParseXID(xid)
		must(t, err)
		recent.Add(number, seq, id)
	}
	must(t, rows.Err())
}

func snapshotOf(t *testing.T, pool *pgxpool.Pool) pgsnapshot.Snapshot {
	t.Helper()
	var text string
	must(t, pool.QueryRow(t.Context(), `SELECT pg_current_snapshot()::text`).Scan(&text))
	s, err := pgsnapshot.Parse(text)
	must(t, err)
	return s
}

// TestOnlyRowsProveThatNothingIsMissing: two rows are delivered before the horizon, and three are
// written after it.
func TestOnlyRowsProveThatNothingIsMissing(t *testing.T) {
	t.Parallel()
	const write = insert + `unnest(ARRAY[pg_current_xact_id()::text]) AS x`
	for name, c := range map[string]struct {
		change   string // before the later rows are written
		streamed string // condition on the later rows
		after    string
		want     string
	}{
		"all were streamed": {streamed: `true`},
		"one was not":       {streamed: `seq <> 4`, want: "1 rows of the table were not streamed"},
		"one was not, and another is gone": {
			streamed: `seq <> 4`, after: `DELETE FROM outbox_events WHERE seq = 5`,
			want: "1 rows of the table were not",
		},
		"one is gone": {
			streamed: `true`, after: `DELETE FROM outbox_events WHERE seq = 5`,
			want: "1 rows that were streamed are no longer",
		},
		"nothing was written": {streamed: `false`, after: `DELETE FROM outbox_events WHERE seq > 2`},
		"every row is gone": {
			streamed: `false`, after: `DELETE FROM outbox_events`, want: "no row that was delivered before",
		},
		"a row has an old xid": {
			streamed: `true`, after: insert + `unnest('{7}'::text[]) AS x`,
			want: "1 rows of the table were not streamed",
		},
		"a row has a future xid": {
			streamed: `true`, after: insert + `unnest('{4000000000000}'::text[]) AS x`,
			want: "1 rows of the table were not streamed",
		},
		"a seq is used again": {
			change: `TRUNCATE outbox_events RESTART IDENTITY`, streamed: `seq > 1`,
			want: "1 rows of the table were not streamed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, recent := outboxtest.NewPool(t), audit.NewRecent()
			exec(t, pool, write)
			exec(t, pool, write)
			read(t, pool, recent, `true`)
			from := snapshotOf(t, pool)
			recent.Forget(from)
			if c.change != "" {
				exec(t, pool, c.change)
			}
			for range 3 {
				exec(t, pool, write)
			}
			read(t, pool, recent, `NOT pg_visible_in_snapshot(xid, '`+from.String()+`') AND `+c.streamed)
			if c.after != "" {
				exec(t, pool, c.after)
			}
			doubt, err := audit.NewTable(pool, keyedTable).Doubt(t.Context(),
				audit.Step{From: from, To: snapshotOf(t, pool)}, recent)
			must(t, err)
			if (c.want == "") != (doubt == "") || !strings.Contains(doubt, c.want) {
				t.Errorf("got  %q\nwant %q", doubt, c.want)
			}
		})
	}
}

// TestRowsBeyondTheBoundProveNothing until a horizon shows all of them.
func TestRowsBeyondTheBoundProveNothing(t *testing.T) {
	t.Parallel()
	pool, recent := outboxtest.NewPool(t), audit.NewRecent()
	from := snapshotOf(t, pool)
	exec(t, pool, insert+`unnest(ARRAY[pg_current_xact_id()::text]) AS x`)
	for i := range 1 << 18 {
		recent.Add(from.Next(), "0", strconv.Itoa(i))
	}
	read(t, pool, recent, `true`)
	to := snapshotOf(t, pool)
	doubt, err := audit.NewTable(pool, keyedTable).Doubt(t.Context(), audit.Step{From: from, To: to}, recent)
	must(t, err)
	if !strings.Contains(doubt, "262144 rows") {
		t.Errorf("%q", doubt)
	}
	for written := to.Next(); !to.IsPast(written); { // tests in other databases hold back xmin
		to = snapshotOf(t, pool)
	}
	recent.Forget(to)
	exec(t, pool, insert+`unnest(ARRAY[pg_current_xact_id()::text]) AS x`)
	read(t, pool, recent, `NOT pg_visible_in_snapshot(xid, '`+to.String()+`')`)
	doubt, err = audit.NewTable(pool, keyedTable).Doubt(t.Context(), audit.Step{From: to, To: snapshotOf(t, pool)},
		recent)
	must(t, err)
	if doubt != "" {
		t.Errorf("%q", doubt)
	}
}
