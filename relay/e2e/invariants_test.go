package e2e_test

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// confirmed reports whether the slot's confirmed_flush_lsn has reached lsn.
func (w *testEnv) confirmed(lsn string) bool {
	return w.query(`SELECT (confirmed_flush_lsn >= $1::pg_lsn)::text FROM pg_replication_slots
		WHERE slot_name = $2`, lsn, w.slot) == "true"
}

// endOfLog returns the current end of the log.
func (w *testEnv) endOfLog() string { return w.query(`SELECT pg_current_wal_insert_lsn()::text`) }

// dropSlot drops the slot once it is free.
func (w *testEnv) dropSlot() {
	w.t.Helper()
	w.eventually("the slot is free", func() bool {
		return w.query(`SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot) == "false"
	})
	w.exec(`SELECT pg_drop_replication_slot($1)`, w.slot)
}

// bodies returns how often the default destination has accepted each body.
func (w *testEnv) bodies() map[string]int {
	bodies := map[string]int{}
	for _, r := range w.broker.Received(w.queue.ARN) {
		bodies[r.Body]++
	}
	return bodies
}

func (w *testEnv) awaitBody(body string) {
	w.t.Helper()
	w.eventually("event "+body+" arrives", func() bool { return w.bodies()[body] > 0 })
}

func TestSlotIsConfirmedWhileOnlyOtherTablesAreWritten(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE other (id integer)`)
	w.startStreaming()
	before := w.endOfLog()
	for range 20 {
		w.exec(`INSERT INTO other SELECT generate_series(1, 1000)`)
	}
	began := time.Now()
	w.eventually("the slot is confirmed behind the other table's rows", func() bool {
		return w.query(`SELECT (pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn) < 65536)::text
			FROM pg_replication_slots WHERE slot_name = $1`, w.slot) == "true"
	})
	if !w.confirmed(before) {
		t.Error("the slot is not confirmed past the start of the other table's rows")
	}
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
	w := newTestEnv(t, "orders")
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
	w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=2s", "RELAY_WINDOW_EVENTS=100", "RELAY_REQUEST_TIMEOUT=1s")
	holder := func() string {
		return w.query(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot)
	}
	before := holder()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', i::text, 'order.created',
		json_build_object('n', i, 'padding', repeat('x', 1000))
		FROM generate_series(1, 5000) AS i`)
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if now := holder(); now != before {
			t.Fatalf("the slot was held by process %s, now by %q: the server timed the relay out", before, now)
		}
	}
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
	next := w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=2s")
	failing.Clear()
	w.awaitReceived(200)
	next.stop()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'o', '1', 't', '{"late":true}')`)
	holder := w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=2s")
	w.awaitBody(`{"late":true}`)
	w.must(frozen.cmd.Process.Signal(syscall.SIGCONT))
	frozen.awaitLog("event=session_ended")
	frozen.awaitLog("event=standby")
	for body, times := range w.bodies() {
		if times > 1 {
			t.Errorf("%s was published %d times: the thawed relay published the events in its memory", body, times)
		}
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
			w.exec(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, w.slot)
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

func TestHorizonCoversOnlyDeliveredEvents(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
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

func TestBigTransactionResumesInTheMiddle(t *testing.T) {
	t.Parallel()
	const rows = 20000
	w := newTestEnv(t, "orders.fifo")
	w.killInTransaction(rows, 2000, "RELAY_WINDOW_EVENTS=500", "RELAY_IN_FLIGHT=8")
	received := len(w.broker.Received(w.queue.ARN))
	w.start()
	w.awaitAll(rows)
	w.eventually("the transaction is confirmed", func() bool {
		return w.query(`SELECT (tx_delivered = 0)::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
	if extra := len(w.broker.Received(w.queue.ARN)) - rows; extra > received/2+500 {
		t.Errorf("%d events arrived twice and %d had arrived before the kill: the transaction was sent from its start",
			extra, received)
	}
}

func TestMismatchedTransactionIsSentFromItsStart(t *testing.T) {
	t.Parallel()
	const rows = 2000
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

// awaitAll waits until n different bodies have arrived.
func (w *testEnv) awaitAll(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d different events have arrived", n), func() bool { return len(w.bodies()) >= n })
}

// newServer starts a server that the test can stop and restart, with a database and a role named
// relay.
func newServer(t *testing.T) *pgtest.Server {
	t.Helper()
	return newServerWith(t, nil)
}

func newServerWith(t *testing.T, settings map[string]string) *pgtest.Server {
	t.Helper()
	return newServerOf(t, pgtest.Options{Settings: settings})
}

func newServerOf(t *testing.T, options pgtest.Options) *pgtest.Server {
	t.Helper()
	options.Dir = t.TempDir()
	server := pgtest.NewServer(t, options)
	admin, err := pgx.Connect(t.Context(), server.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	for _, sql := range []string{`CREATE ROLE relay LOGIN REPLICATION`, `CREATE DATABASE relay OWNER relay`} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

func TestUnavailableBrokerDelaysNoServerShutdown(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	hanging := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Hang())
	// longer than the bound below, so neither timeout ends the wait
	w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=20s", "RELAY_REQUEST_TIMEOUT=40s")
	w.commit(event(t, "1", `{"n":1}`))
	w.must(hanging.AwaitHits(t.Context(), 1))
	w.pool.Reset()
	began := time.Now()
	w.must(server.Stop(pgtest.Fast))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the server needed %v to shut down", took)
	} else {
		t.Logf("the server shut down in %v", took.Round(time.Millisecond))
	}
	w.must(server.Restart(t.Context()))
	hanging.Clear()
	w.awaitBody(`{"n":1}`)
}

func TestRelayContinuesAfterAServerCrash(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders.fifo")
	w.startStreaming()
	for i := range 100 {
		w.commit(event(t, fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i)))
	}
	w.pool.Reset()
	w.must(server.Kill())
	w.must(server.Restart(t.Context()))
	w.awaitAll(100)
	w.commit(event(t, "after", `{"after":true}`))
	w.awaitBody(`{"after":true}`)
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

func TestRefusedEventParksOnlyItsAggregate(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	// with its attributes it exceeds 1 MiB
	huge := event(t, "poisoned", `{"padding":"`+strings.Repeat("x", 1<<20-20)+`"}`)
	w.commit(huge)
	w.commit(event(t, "poisoned", `{"behind":1}`), event(t, "fine", `{"fine":1}`))
	w.awaitBody(`{"fine":1}`)
	parked := func() string {
		return w.query(`SELECT string_agg(code, ',' ORDER BY position) FROM outbox_dead_letters`)
	}
	w.eventually("both events are parked", func() bool { return parked() == "InvalidParameterValue,BlockedGroup" })
	p.stop()
	w.startStreaming()
	w.commit(event(t, "poisoned", `{"behind":2}`), event(t, "fine", `{"fine":2}`))
	w.awaitBody(`{"fine":2}`)
	w.eventually("the group is blocked after a restart", func() bool {
		return parked() == "InvalidParameterValue,BlockedGroup,BlockedGroup"
	})
	if got := w.bodies(); len(got) != 2 {
		t.Errorf("received %v", got)
	}
	if reason := w.query(`SELECT reason FROM outbox_dead_letters WHERE event_id = $1`,
		huge.ID.String()); !strings.Contains(reason, "1048576") {
		t.Errorf("the reason does not name the limit: %q", reason)
	}
}

func TestEventWithoutAnIDIsParked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`CREATE TABLE events (id text, seq bigint GENERATED ALWAYS AS IDENTITY,
		xid xid8 NOT NULL DEFAULT pg_current_xact_id(), kind text, body text)`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE events`)
	w.startStreaming("RELAY_TABLE=public.events", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
		"RELAY_COLUMN_AGGREGATE_TYPE=",
		"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT=")
	w.exec(`INSERT INTO events (id, kind, body)
		VALUES (NULL, 'k', 'no id'), ('7', 'k', 'plain text'), ('8', 'k', NULL)`)
	w.awaitBody("plain text")
	w.eventually("both are parked", func() bool {
		return w.query(`SELECT string_agg(event_id, ',' ORDER BY event_id) FROM outbox_dead_letters`) == "8,seq:1"
	})
}

func TestRowLargerThanAnyMessageIsParkedByItsID(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_payload_check`)
	p := w.startStreaming("RELAY_WINDOW_BYTES=2097152")
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES ('00000000-0000-0000-0000-00000000000a', 'o', '1', 't', to_json(repeat('x', 30000000)))`)
	w.commit(event(t, "2", `{"small":true}`))
	w.awaitBody(`{"small":true}`)
	w.eventually("the large one is parked", func() bool {
		return w.query(`SELECT (event_id = '00000000-0000-0000-0000-00000000000a'
			AND octet_length(event::text) < 2000)::text
			FROM outbox_dead_letters`) == "true"
	})
	p.stop()
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
