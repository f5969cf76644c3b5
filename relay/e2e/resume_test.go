package e2e_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestTransactionResumesAtFirstUndeliveredEvent(t *testing.T) {
	t.Parallel()
	const events, missing = 30, 10
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	failing := w.broker.Script(fakeaws.Match{
		Action: "SendMessageBatch",
		Entry:  func(m *fakeaws.Message) bool { return m.Body == strconv.Itoa(missing) },
	}, fakeaws.FailEntries("InternalError", "", false))
	var all []outbox.Event
	for i := range events {
		all = append(all, event(t, strconv.Itoa(i), strconv.Itoa(i)))
	}
	w.commit(all...)
	committed := w.endOfLog()
	w.eventually("the events before it are counted", func() bool {
		return w.query(`SELECT tx_delivered::text FROM relay_checkpoints
			WHERE slot_name = $1`, w.slot) == strconv.Itoa(missing)
	})
	w.awaitReceived(events - 1)
	p.kill()
	failing.Clear()
	w.start()
	w.awaitAll(events)
	w.eventually("the transaction is confirmed", func() bool { return w.confirmed(committed) })
	for body, times := range w.bodies() {
		if i, _ := strconv.Atoi(body); i < missing && times != 1 {
			t.Errorf("event %d, which was counted, arrived %d times", i, times)
		}
	}
}

func TestEventsBelowTheCheckpointAreSkipped(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"covered":true}`))
	// as after a kill before the confirmation
	w.exec(`UPDATE relay_checkpoints SET flush_lsn = $2::pg_lsn WHERE slot_name = $1`, w.slot, w.endOfLog())
	w.commit(event(t, "1", `{"next":true}`))
	w.startStreaming()
	w.awaitBody(`{"next":true}`)
	if got := w.bodies(); len(got) != 1 {
		t.Errorf("received %v", got)
	}
}

func TestStopWaitsForEveryEventThatWasRead(t *testing.T) {
	t.Parallel()
	const events = 20
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	slow := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(200*time.Millisecond))
	var all []outbox.Event
	for i := range events { // of one aggregate, so they are sent one after another
		all = append(all, event(t, "1", strconv.Itoa(i)))
	}
	w.commit(all...)
	w.must(slow.AwaitHits(t.Context(), 3))
	p.stop()
	if got := len(w.bodies()); got != events {
		t.Errorf("%d of %d events were delivered when the relay had stopped", got, events)
	}
}

func TestCheckpointSurvivesACrashOfTheServer(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	w.exec(`CREATE TABLE writes (synchronous_commit text)`)
	w.exec(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO writes VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$`)
	w.exec(`CREATE TRIGGER note AFTER UPDATE ON relay_checkpoints FOR EACH ROW EXECUTE FUNCTION note()`)
	w.startStreaming()
	w.commit(event(t, "1", `{}`))
	w.awaitReceived(1)
	w.awaitCheckpoint()
	if got := w.query(`SELECT string_agg(DISTINCT synchronous_commit, ',') FROM writes`); got != "on" {
		t.Errorf("the checkpoint row is written with synchronous_commit %s", got)
	}
}
