package deferral

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

// TestAnAggregateKeepsWhatIsDoneInACopy: of 40 rows of two aggregates each, those up to 20 were
// delivered in the other cluster, whose transaction ids are far ahead.
func TestAnAggregateKeepsWhatIsDoneInACopy(t *testing.T) {
	t.Parallel()
	pool := outboxtest.NewPool(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload, xid)
		OVERRIDING SYSTEM VALUE
		SELECT gen_random_uuid(), i, 'order', (i % 2)::text, 't', '{}', (1000000 + i)::text::xid8
		FROM generate_series(1, 40) AS i`)
	exec(`INSERT INTO outbox_deferrals (slot_name, outbox_table, destination, aggregate_type, aggregate_id,
			system_identifier, known, from_seq, routes, state, reason)
		SELECT 's', 'public.outbox_events', destination, type, aggregate, '1', '1000100:1000100:', 21, ARRAY['A'],
			'deferred', 'r'
		FROM (VALUES ('A', 'order', '0'), ('A', 'order', '1'), ('A', 'order', 'none'), ('B', '', ''))
			AS d (destination, type, aggregate)`)
	table := outboxtable.Table{Schema: "public", Name: "outbox_events", Columns: outboxtable.Columns{
		ID: "id", AggregateType: "aggregate_type", AggregateID: "aggregate_id", Sequence: "seq", XID: "xid",
	}}
	imported, err := FindImported(t.Context(), pool, "s", table)
	if err != nil {
		t.Fatal(err)
	}
	exec(`UPDATE outbox_deferrals SET known = '3:3:'`)
	if err := imported.Restore(t.Context(), pool, "s", table.String(), nil); err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(t.Context(), `SELECT destination || aggregate_id, from_seq FROM outbox_deferrals
		WHERE known::text <> '3:3:' AND system_identifier <> '1'`)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for rows.Next() {
		var place string
		var fromSeq int64
		if err := rows.Scan(&place, &fromSeq); err != nil {
			t.Fatal(err)
		}
		got[place] = fromSeq
	}
	if diff := cmp.Diff(map[string]int64{"A0": 22, "A1": 21, "Anone": endless, "B": 21}, got); diff != "" {
		t.Errorf("first rows that wait (-want +got):\n%s", diff)
	}
}
