package e2e_test

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestCommittedEventArrivesByteForByte(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming()
	e := event(t, "4711", `{"b": 1,  "a":"ü ☃ \u0041", "b": 2}`)
	e.Headers = map[string]string{
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"tenant":      "acme",
	}
	w.commit(e)

	got := w.awaitReceived(1)[0]
	if got.Body != string(e.Payload) {
		t.Errorf("body is %q, want %q", got.Body, e.Payload)
	}
	for name, want := range map[string]string{
		outbox.AttributeEventID: e.ID.String(), outbox.AttributeEventType: "order.created",
		outbox.AttributeAggregateType: "order",
		outbox.AttributeAggregateID:   "4711", outbox.AttributeTraceparent: e.Headers["traceparent"], "tenant": "acme",
		outbox.AttributeSequence: w.query(`SELECT seq::text FROM outbox_events`),
	} {
		if value := attribute(got.Attributes, name); value != want {
			t.Errorf("attribute %s is %q, want %q", name, value, want)
		}
	}
	if got.DeduplicationID != e.ID.String() || got.GroupID != "order/4711" {
		t.Errorf("deduplication id %q, group id %q", got.DeduplicationID, got.GroupID)
	}
}

func TestStopConfirmsEveryDeliveredEvent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	for i := range 50 {
		w.commit(event(t, fmt.Sprint(i), `{}`))
	}
	p.stop()
	w.startStreaming()
	w.commit(event(t, "51", `{}`))
	w.awaitReceived(51)
	w.eventually("the slot is confirmed", func() bool {
		return w.query(`SELECT (confirmed_flush_lsn = flush_lsn AND tx_delivered = 0)::text
			FROM pg_replication_slots JOIN relay_checkpoints USING (slot_name)`) == "true"
	})
	if got := len(w.broker.Received(w.queue.ARN)); got != 51 {
		t.Errorf("received %d messages for 51 events: some arrived twice", got)
	}
}
