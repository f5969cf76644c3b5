package e2e_test

import (
	"strconv"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// awaitCheckpoint waits until the checkpoint row is written again.
func (w *testEnv) awaitCheckpoint() {
	w.t.Helper()
	written := func() string {
		return w.query(`SELECT updated_at::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot)
	}
	before := written()
	w.eventually("the checkpoint row is written", func() bool { return written() != before })
}

func TestHorizonWaitsForAnUndeliveredEvent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	const body = `{"undelivered":true}`
	unavailable := w.broker.Script(fakeaws.Match{
		Action: "SendMessageBatch",
		Entry:  func(m *fakeaws.Message) bool { return m.Body == body },
	}, fakeaws.FailEntries("InternalError", "", false))
	w.commit(event(t, "undelivered", body))
	w.must(unavailable.AwaitHits(t.Context(), 1))
	for i := range 4 { // the third horizon at the latest is newer than the commit of the event
		w.commit(event(t, strconv.Itoa(i), `{}`))
		w.awaitReceived(i + 1)
		w.awaitCheckpoint()
	}
	if w.query(`SELECT pg_visible_in_snapshot(xid, horizon)::text FROM outbox_events, relay_checkpoints
		WHERE aggregate_id = 'undelivered' AND slot_name = $1`, w.slot) != "false" {
		t.Error("the horizon covers an event that is not delivered")
	}
	p.kill()
	w.dropSlot()
	unavailable.Clear()
	w.start()
	w.awaitBody(body)
}

func TestRecoveryPublishesNothingThatWasDelivered(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	p := w.startStreaming()
	// older than the events after it, and not covered by the horizon
	open, err := w.pool.Begin(t.Context())
	w.must(err)
	defer open.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	w.must(outbox.Insert(t.Context(), open, event(t, "open", `{"open":true}`)))
	for i := range 5 {
		w.commit(event(t, strconv.Itoa(i), strconv.Itoa(i)))
	}
	w.awaitReceived(5)
	w.eventually("the horizon covers every delivered event", func() bool {
		return w.query(`SELECT (SELECT bool_and(pg_visible_in_snapshot(xid, horizon)) FROM outbox_events)::text
			FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
	p.stop()
	w.must(open.Commit(t.Context()))
	w.dropSlot()
	w.startStreaming()
	w.commit(event(t, "after", `{"after":true}`))
	w.awaitBody(`{"after":true}`)
	for body, times := range w.bodies() {
		if times > 1 {
			t.Errorf("%s was published %d times", body, times)
		}
	}
	w.awaitBody(`{"open":true}`)
}

func TestRecoverySkipsEventsOfTheNewSlot(t *testing.T) {
	t.Parallel()
	const rows = 500 // more rows than one page
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.dropSlot()
	w.insertMany(rows)
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.start("RELAY_WINDOW_EVENTS=100")
	w.must(unavailable.AwaitHits(t.Context(), 1)) // the slot exists, and most rows are not read yet
	w.commit(event(t, "new", `{"new":true}`))
	committed := w.endOfLog()
	unavailable.Clear()
	w.awaitAll(rows + 1)
	w.eventually("everything is confirmed", func() bool { return w.confirmed(committed) })
	if times := w.bodies()[`{"new":true}`]; times != 1 {
		t.Errorf("the event that the new slot brings was published %d times", times)
	}
}

func TestRecoveryEndsOnlyOnceItsRowsAreDelivered(t *testing.T) {
	t.Parallel()
	const rows = 20
	w := newTestEnv(t, "orders")
	w.insertMany(rows)
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	p := w.start("RELAY_START=table")
	w.must(unavailable.AwaitHits(t.Context(), 4))
	p.kill()
	if w.query(`SELECT recover_to::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "" {
		t.Error("the recovery is complete before any of its rows is delivered")
	}
	unavailable.Clear()
	w.start()
	w.awaitAll(rows)
}
