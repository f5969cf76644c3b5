package e2e_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

func TestBigTransactionResumesInTheMiddle(t *testing.T) {
	t.Parallel()
	const rows = 20000
	w := newTestEnv(t, "orders.fifo")
	w.killInTransaction(rows, 2000, "RELAY_WINDOW_EVENTS=500", "RELAY_IN_FLIGHT=8")
	received := len(w.broker.Received(w.queue.ARN))
	stored, err := strconv.Atoi(w.query(`SELECT tx_delivered::text FROM relay_checkpoints
		WHERE slot_name = $1`, w.slot))
	w.must(err)
	w.start()
	w.awaitAll(rows)
	w.eventually("the transaction is confirmed", func() bool {
		return w.query(`SELECT (tx_delivered = 0)::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
	for _, r := range w.broker.Received(w.queue.ARN)[received:] {
		if n := number0(t, r.Body); n <= stored {
			t.Fatalf("event %d arrived again, though the first %d were stored as delivered", n, stored)
		}
	}
}

func TestMismatchedTransactionIsSentFromItsStart(t *testing.T) {
	t.Parallel()
	const rows = 6000
	w := newTestEnv(t, "orders.fifo")
	w.killInTransaction(rows, 100, "RELAY_WINDOW_EVENTS=200", "RELAY_IN_FLIGHT=2")
	w.exec(`UPDATE relay_checkpoints SET tx_last_event_id = 'another', tx_delivered = $2
		WHERE slot_name = $1`, w.slot, rows-10)
	next := w.start()
	next.awaitLog("other rows than before")
	w.awaitAll(rows)
}

// killInTransaction starts a relay that delivers one transaction of so many events slowly. It kills
// the relay as soon as it has stored that more than stored of them are delivered.
func (w *testEnv) killInTransaction(rows, stored int, env ...string) {
	w.t.Helper()
	p := w.startStreaming(env...)
	slow := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(50*time.Millisecond))
	w.insertMany(rows)
	w.eventually("a part of the transaction is stored", func() bool {
		return w.query(`SELECT (tx_delivered > $2)::text FROM relay_checkpoints
			WHERE slot_name = $1`, w.slot, stored) == "true"
	})
	p.kill()
	slow.Clear()
	if len(w.broker.Received(w.queue.ARN)) == rows {
		w.t.Fatal("the relay was killed too late")
	}
}

// insertMany writes n events of n/10 aggregates in one transaction.
func (w *testEnv) insertMany(n int) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', (i % ($1 / 10))::text, 'order.created', json_build_object('n', i)
		FROM generate_series(1, $1) AS i`, n)
}
