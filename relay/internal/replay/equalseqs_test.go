package replay

import "testing"

// Rows of different partitions may have the same seq.
func TestAReplayHasAllSelectedRowsOfASeq(t *testing.T) {
	t.Parallel()
	r := newFixture(t, 0, 0)
	r.exec(`DROP INDEX outbox_events_seq_key`)
	r.exec(`INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload)
		OVERRIDING SYSTEM VALUE
		SELECT gen_random_uuid(), (i + 2) / 3, 'order', (i % 3)::text, 'order.created', '{}'
		FROM generate_series(1, 1500) AS i`)
	for _, limit := range []int{1, 100, 1000} {
		for _, c := range []struct {
			selection Selection
			want      int
		}{
			{Selection{AggregateType: one("order")}, 1500},
			{Selection{AggregateType: one("order"), AggregateID: one("1")}, 500},
		} {
			asked := r.begin(c.selection)
			r.exec(`UPDATE outbox_replays SET state = 'done'`)
			got := 0
			for _, page := range r.pages(asked, limit) {
				got += len(page)
			}
			if got != c.want {
				t.Errorf("limit %d: read %d events, want %d", limit, got, c.want)
			}
		}
	}
}
