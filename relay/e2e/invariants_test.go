package e2e_test

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestSlotIsConfirmedWhileOnlyOtherTablesAreWritten(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE other (id integer)`)
	w.startStreaming()
	for range 20 {
		w.exec(`INSERT INTO other SELECT generate_series(1, 1000)`)
	}
	began, end := time.Now(), w.endOfLog()
	w.eventually("the slot is confirmed behind nearly all of the other table's rows", func() bool {
		return w.query(`SELECT (pg_wal_lsn_diff($1::pg_lsn, confirmed_flush_lsn) < 65536)::text
			FROM pg_replication_slots WHERE slot_name = $2`, end, w.slot) == "true"
	})
	t.Logf("confirmed %v after 20,000 rows", time.Since(began).Round(time.Millisecond))
}

func TestNothingIsConfirmedBeforeItIsDelivered(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	const body = `{"undelivered":true}`
	failing := w.broker.Script(fakeaws.Match{
		Action: "SendMessageBatch",
		Entry:  func(m *fakeaws.Message) bool { return m.Body == body },
	}, fakeaws.FailEntries("InternalError", "", false))
	w.commit(event(t, "1", body))
	committed := w.endOfLog()
	// the positions in the server's keepalives advance
	w.exec(`CREATE TABLE other AS SELECT generate_series(1, 20000)`)
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		w.commit(event(t, "2", `{}`)) // other events flow, and checkpoints are written
		if w.confirmed(committed) {
			t.Fatal("the event's commit was confirmed while the event was not delivered")
		}
	}
	p.kill()
	failing.Clear()
	w.startStreaming()
	w.awaitBody(body)
	w.eventually("the event is confirmed", func() bool { return w.confirmed(committed) })
}

func TestConfirmedPositionNeverPassesTheCheckpointRow(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.startStreaming()
	w.commit(event(t, "0", `{}`))
	w.awaitReceived(1)
	tx, err := w.pool.Begin(t.Context())
	w.must(err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	_, err = tx.Exec(t.Context(), `SELECT FROM relay_checkpoints WHERE slot_name = $1 FOR UPDATE`, w.slot)
	w.must(err)
	w.commit(event(t, "1", `{}`))
	committed := w.endOfLog()
	w.awaitReceived(2)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w.confirmed(committed) {
			t.Fatal("a position was confirmed while the checkpoint row could not be written")
		}
	}
	w.must(tx.Commit(t.Context()))
	w.eventually("the event is confirmed", func() bool { return w.confirmed(committed) })
}

func TestStatusUpdatesContinueWhileTheBrokerHangs(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	hanging := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Hang())
	// A stall of the machine is shorter, and five status updates take about ten seconds.
	w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=16s", "RELAY_WINDOW_EVENTS=100", "RELAY_REQUEST_TIMEOUT=1s")
	holder := func() string {
		return w.query(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot)
	}
	before := holder()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', i::text, 'order.created',
		json_build_object('n', i, 'padding', repeat('x', 1000))
		FROM generate_series(1, 5000) AS i`)
	w.must(hanging.AwaitHits(t.Context(), 2))
	updates, replied := 0, w.replyTime()
	w.eventually("five status updates arrive", func() bool {
		if now := holder(); now != before {
			t.Fatalf("the slot was held by process %s, now by %q: the server timed the relay out", before, now)
		}
		if at := w.replyTime(); !at.Equal(replied) {
			updates, replied = updates+1, at
		}
		return updates == 5
	})
	hanging.Clear()
	w.awaitReceived(5000)
	if now := holder(); now != before {
		t.Errorf("the slot was held by process %s, now by %q: the relay timed the server out while it was busy itself",
			before, now)
	}
}

func TestStandbyTakesOverFromAKilledRelay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	first := w.startStreaming()
	second := w.start("RELAY_LISTEN=127.0.0.1:0")
	second.awaitLog("event=standby")
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	first.kill()
	second.awaitLog("event=streaming")
	w.commit(event(t, "1", `{"n":2}`))
	w.awaitBody(`{"n":2}`)
}

func TestThawedRelayPublishesNothingAfterTakeover(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	frozen := w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=2s", "RELAY_REQUEST_TIMEOUT=1s")
	failing := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	for i := range 200 { // they wait in the relay's memory
		w.commit(event(t, fmt.Sprint(i%10), fmt.Sprintf(`{"n":%d}`, i)))
	}
	w.must(failing.AwaitHits(t.Context(), 2))
	w.must(frozen.cmd.Process.Signal(syscall.SIGSTOP))
	next := w.startStreaming()
	failing.Clear()
	w.awaitAll(200)
	next.stop()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'o', '1', 't', '{"late":true}')`)
	committed := w.endOfLog()
	holder := w.startStreaming()
	w.awaitBody(`{"late":true}`)
	w.eventually("the event is confirmed", func() bool { return w.confirmed(committed) })
	before := w.broker.ReceivedCount(w.queue.ARN)
	w.must(frozen.cmd.Process.Signal(syscall.SIGCONT))
	frozen.awaitLog("event=session_ended")
	frozen.awaitLog("event=standby")
	if again := w.broker.ReceivedCount(w.queue.ARN) - before; again > 0 {
		t.Errorf("%d events were published again: the thawed relay published those in its memory", again)
	}
	holder.stop()
}

func TestRaisedEpochStopsTheHolder(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	w.exec(`UPDATE relay_checkpoints SET epoch = epoch + 1 WHERE slot_name = $1`, w.slot)
	p.awaitLog("no longer the holder")
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1) // by the session that began afterwards
}

func TestHorizonCoversOnlyDeliveredEvents(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.startStreaming()
	open, err := w.pool.Begin(t.Context()) // keeps the xmin of every snapshot low
	w.must(err)
	defer open.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	w.must(outbox.Insert(t.Context(), open, event(t, "open", `{"open":true}`)))
	for i := range 20 {
		w.commit(event(t, fmt.Sprint(i), `{}`))
	}
	w.awaitReceived(20)
	w.eventually("the horizon covers every delivered event", func() bool {
		return w.query(`SELECT (SELECT bool_and(pg_visible_in_snapshot(xid, horizon)) FROM outbox_events)::text
			FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
	w.must(open.Commit(t.Context()))
	if seen := w.query(`SELECT pg_visible_in_snapshot(e.xid, c.horizon)::text FROM outbox_events e, relay_checkpoints c
		WHERE aggregate_id = 'open' AND slot_name = $1`, w.slot); seen != "false" && len(w.bodies()) < 2 {
		t.Errorf("the horizon covers an event before it is delivered")
	}
	w.awaitBody(`{"open":true}`)
}

func TestKilledRecoveryResumesAtItsCheckpoint(t *testing.T) {
	t.Parallel()
	const rows = 3000
	w := newTestEnv(t, "orders.fifo")
	w.insertMany(rows)
	slow := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(30*time.Millisecond))
	p := w.start("RELAY_START=table", "RELAY_IN_FLIGHT=4", "RELAY_WINDOW_EVENTS=200")
	w.eventually("a part of recovery is stored", func() bool {
		return w.query(`SELECT (recovered_seq > 400)::text FROM relay_checkpoints
			WHERE slot_name = $1`, w.slot) == "true"
	})
	p.kill()
	slow.Clear()
	stored, err := strconv.Atoi(w.query(`SELECT recovered_seq::text FROM relay_checkpoints
		WHERE slot_name = $1`, w.slot))
	w.must(err)
	again := len(w.broker.Received(w.queue.ARN))
	w.start()
	w.awaitAll(rows)
	for _, r := range w.broker.Received(w.queue.ARN)[again:] {
		if seq, _ := strconv.Atoi(attribute(r.Attributes, outbox.AttributeSequence)); seq <= stored {
			t.Fatalf("row %d arrived again after the kill, and rows up to %d were stored as delivered", seq, stored)
		}
	}
}

func TestStoppedRecoveryRepeatsNothing(t *testing.T) {
	t.Parallel()
	const rows, window = 1000, 30 // a page of recovery has more rows than the window
	w := newTestEnv(t, "orders")
	w.insertMany(rows)
	slow := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(50*time.Millisecond))
	for range 3 {
		received := len(w.broker.Received(w.queue.ARN))
		p := w.start("RELAY_START=table", fmt.Sprint("RELAY_WINDOW_EVENTS=", window))
		w.awaitReceived(received + 2*window)
		p.stop()
	}
	slow.Clear()
	w.start()
	w.awaitAll(rows)
	if n := len(w.broker.Received(w.queue.ARN)); n != rows {
		t.Errorf("%d of %d events arrived again", n-rows, rows)
	}
}

func TestColumnsAreFoundByNameWhileTheTableChanges(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`ALTER TABLE outbox_events ADD COLUMN tenant text DEFAULT 'acme'`)
	w.commit(event(t, "1", `{"n":2}`))
	// changes the positions of xid and created_at
	w.exec(`ALTER TABLE outbox_events DROP COLUMN tenant, DROP COLUMN headers, ADD COLUMN headers jsonb DEFAULT '{}'`)
	w.commit(event(t, "1", `{"n":3}`))
	for n, r := range w.awaitReceived(3) {
		if want := fmt.Sprintf(`{"n":%d}`, n+1); r.Body != want ||
			attribute(r.Attributes, outbox.AttributeOccurredAt) == "" {
			t.Errorf("received %q with %v, want %q", r.Body, r.Attributes, want)
		}
	}
}

func TestStopDeliversEveryEventThatWasRead(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	slow := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(time.Second))
	for i := range 30 {
		w.commit(event(t, fmt.Sprint(i), `{}`))
	}
	w.must(slow.AwaitHits(t.Context(), 1))
	p.stop()
	received := len(w.broker.Received(w.queue.ARN))
	slow.Clear()
	w.startStreaming()
	w.awaitReceived(30)
	time.Sleep(500 * time.Millisecond)
	if got := len(w.broker.Received(w.queue.ARN)); got != 30 {
		t.Errorf("%d messages for 30 events, %d before the stop: delivered events were not confirmed", got, received)
	}
}
