package e2e_test

import (
	"strings"
	"testing"
)

// writeUndecodable commits an event that a walsender cannot decode as its first one. The catalog
// lacks a column of the table at that moment of the log alone, as it does for a row behind a change
// that the first snapshot of a slot lacks.
func (w *testEnv) writeUndecodable(payload string) {
	w.t.Helper()
	w.asSuperuser(`BEGIN; SET LOCAL allow_system_table_mods = on;
		WITH hidden AS (
			UPDATE pg_attribute SET attrelid = 0
			WHERE attrelid = 'outbox_events'::regclass AND attname = 'created_at' RETURNING attname
		)
		INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', '1', 't', '` + payload + `' FROM hidden;
		UPDATE pg_attribute SET attrelid = 'outbox_events'::regclass WHERE attrelid = 0; COMMIT`)
}

func TestUndecodableLogIsPublishedFromTheTable(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.writeUndecodable(`{"n":0}`)
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitEach(2)
	p.awaitLog("event=log_undecodable")
	w.awaitRecovered()
	w.commit(event(t, "1", `{"n":2}`))
	w.awaitEach(3)
}

// The operator decides: the relay ends, and continues after relay recover.
func TestUndecodableLogNeedsAnOperator(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"RELAY_ON_SLOT_LOSS=halt", readsEmitted} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			p := w.startStreaming(setting)
			w.writeUndecodable(`{"n":0}`)
			if err := p.wait(); err == nil {
				t.Error("the relay ended without an error")
			}
			for _, want := range []string{"cannot decode the log", "relay recover"} {
				if !strings.Contains(p.log.String(), want) {
					t.Errorf("the log does not say %q", want)
				}
			}
			_, err := w.command([]string{setting}, "recover", "--yes")
			w.must(err)
			w.startStreaming(setting)
			w.awaitEach(1)
		})
	}
}

// A row filter of the time at which a row was written decides about it, so a later filter does not
// help the server. The operator changes it while the relay tries to read the log, or when the relay
// already fails to read the table with the same filter.
func TestAFailingRowFilterHoldsNothingOnceChanged(t *testing.T) {
	t.Parallel()
	for _, seen := range []string{"the row filter of the publication fails at a row", "event=snapshot_taken"} {
		t.Run(seen, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events
				WHERE (10 / (length(aggregate_id) - 3) > -100)`)
			p := w.startStreaming(filtered)
			w.commit(event(t, "abc", `{"n":0}`), event(t, "1", `{"n":1}`))
			p.awaitLog(seen)
			w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events WHERE (event_type <> 'internal')`)
			w.awaitEach(2)
			w.awaitRecovered()
			w.commit(event(t, "abc", `{"n":2}`))
			w.awaitEach(3)
		})
	}
}
