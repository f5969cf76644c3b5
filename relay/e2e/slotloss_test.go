package e2e_test

import (
	"fmt"
	"testing"
)

func TestEventsWrittenWhileTheSlotWasGoneArrive(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	p.stop()
	w.dropSlot()
	w.commit(event(t, "1", `{"n":2}`), event(t, "1", `{"n":3}`))
	w.startStreaming()
	w.awaitBody(`{"n":3}`)
	w.commit(event(t, "1", `{"n":4}`))
	w.awaitBody(`{"n":4}`)
	if got := w.bodies(); got[`{"n":2}`] != 1 || got[`{"n":3}`] != 1 {
		t.Errorf("received %v", got)
	}
}

func TestEventsSkippedByAReplacedSlotArrive(t *testing.T) {
	t.Parallel()
	for name, skip := range map[string]func(*testEnv){
		"dropped and created": func(w *testEnv) {
			w.dropSlot()
			w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
		},
		"advanced": func(w *testEnv) {
			w.advanceSlot()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			p := w.startStreaming()
			w.commit(event(t, "1", `{"n":1}`))
			w.awaitReceived(1)
			p.stop()
			w.commit(event(t, "1", `{"n":2}`))
			skip(w)
			p = w.startStreaming()
			w.awaitBody(`{"n":2}`)
			p.awaitLog("event=gap")
		})
	}
}

func TestEventsOfAChangedPublicationArrive(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"table dropped and added": {
			`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`,
			`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`,
		},
		"publishing no inserts": {
			`ALTER PUBLICATION outbox_pub SET (publish = 'delete')`,
			`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`,
		},
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, relay running %v", name, running), func(t *testing.T) {
				t.Parallel()
				w := newTestEnv(t, "orders.fifo")
				p := w.startStreaming()
				if !running {
					p.stop()
				}
				conn, err := w.pool.Acquire(t.Context())
				w.must(err)
				defer conn.Release()
				for _, sql := range []string{
					change[0],
					`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
						VALUES (gen_random_uuid(), 'o', '1', 't', '{"unseen":true}')`,
					change[1],
				} {
					_, err := conn.Exec(t.Context(), sql)
					w.must(err)
				}
				if !running {
					w.start()
				}
				w.awaitBody(`{"unseen":true}`)
			})
		}
	}
}
