package relay_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// awaitRecovered waits until a recovery has ended.
func (w *world) awaitRecovered() {
	w.t.Helper()
	w.eventually("the recovery has ended", func() bool {
		return w.query(`SELECT (recover_from IS NULL)::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
}

// gap is what has a relay doubt a slot that is intact.
type gap struct {
	name string
	do   func(*world)
}

var gaps = []gap{
	{name: "a setting written again", do: func(w *world) { w.exec(`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`) }},
	{name: "table out and in", do: func(w *world) {
		w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
		w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	}},
	{name: "publication made again", do: func(w *world) {
		w.exec(`DROP PUBLICATION outbox_pub`)
		w.exec(`CREATE PUBLICATION outbox_pub FOR TABLE outbox_events WITH (publish = 'insert', publish_via_partition_root = true)`)
	}},
	{name: "audit gap", do: func(w *world) {
		w.exec(`UPDATE relay_checkpoints SET publication_fingerprint = 'events missing' WHERE slot_name = $1`, w.slot)
	}},
	{name: "by hand", do: func(w *world) { w.recover("--yes") }},
}

// TestGapKeepsEventsThatOnlyTheSlotHas: rows that were deleted after they were committed are in the log alone.
func TestGapKeepsEventsThatOnlyTheSlotHas(t *testing.T) {
	t.Parallel()
	for _, gap := range gaps {
		t.Run(gap.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "orders.fifo")
			p := w.startStreaming()
			w.commit(event(t, "1", `{"n":0}`))
			w.awaitReceived(1)
			p.stop()
			w.commit(event(t, "1", `{"n":1}`))
			w.exec(`DELETE FROM outbox_events`)
			w.commit(event(t, "1", `{"n":2}`))
			gap.do(w)
			w.commit(event(t, "1", `{"n":3}`))
			w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '3'`)
			p = w.startStreaming()
			w.commit(event(t, "1", `{"n":4}`))
			w.awaitBody(`{"n":4}`)
			w.awaitRecovered()
			for n := range 5 {
				if times := w.bodies()[fmt.Sprintf(`{"n":%d}`, n)]; times != 1 {
					t.Errorf("event %d was published %d times: %v", n, times, w.bodies())
				}
			}
			if strings.Contains(p.log.String(), "made the slot") {
				t.Error("the slot is another one")
			}
		})
	}
}

// TestASwappedTableKeepsItsBacklog: the server streams the rows of the old table under the name that it had, and the new table
// gives out the same seqs.
func TestASwappedTableKeepsItsBacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.commit(event(t, "1", `{"n":2}`))
	w.exec(`DO $$ BEGIN
		ALTER TABLE outbox_events RENAME TO outbox_events_2025;
		CREATE TABLE outbox_events (LIKE outbox_events_2025 INCLUDING ALL);
		ALTER PUBLICATION outbox_pub SET TABLE outbox_events;
	END $$`)
	w.commit(event(t, "1", `{"n":3}`))
	w.commit(event(t, "1", `{"n":4}`))
	w.startStreaming()
	for n := range 4 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
}

// TestAMissingPublicationEndsAtTheSnapshot: before Postgres 18 the server refuses to decode what was written without the
// publication, each time.
func TestAMissingPublicationEndsAtTheSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`DROP PUBLICATION outbox_pub`)
	w.commit(event(t, "1", `{"n":2}`))
	w.exec(`CREATE PUBLICATION outbox_pub FOR TABLE outbox_events WITH (publish = 'insert', publish_via_partition_root = true)`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":3}`))
	for n := range 3 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
	w.awaitRecovered()
	// The server releases the slot for a moment. A checkpoint that falls into it ends the session, and the next one continues.
	if w.serverVersion() < 18 && !strings.Contains(p.log.String(), "cannot decode a part of the log") {
		t.Error("the relay does not say that a part of the log is lost")
	}
}

func (w *world) serverVersion() int {
	version, err := strconv.Atoi(w.query(`SELECT (current_setting('server_version_num')::int / 10000)::text`))
	w.must(err)
	return version
}

// TestAnOpenTransactionOverAGapArrives: its rows are written before, while and after the publication has no table.
func TestAnOpenTransactionOverAGapArrives(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, newServer(t).URL("relay", "relay"), "orders") // its own: what stays open would hold up the slots of others
	w.startStreaming().stop()
	open, err := w.pool.Begin(t.Context())
	w.must(err)
	insert := func(n int) { w.must(outbox.Insert(t.Context(), open, event(t, "open", fmt.Sprintf(`{"n":%d}`, n)))) }
	insert(1)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	insert(2)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	insert(3)
	w.commit(event(t, "1", `{"n":4}`))
	w.start()
	w.eventually("the snapshot waits for the transaction", func() bool {
		return w.query(`SELECT count(*)::text FROM pg_replication_slots WHERE temporary AND database = current_database()`) == "1"
	})
	w.commit(event(t, "1", `{"n":5}`))
	w.must(open.Commit(t.Context()))
	w.commit(event(t, "1", `{"n":6}`))
	for n := range 6 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
}

func TestTwoRelaysRecoverBesideOneSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.startStreaming().stop()
	for n := range 3 {
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, n)))
	}
	w.exec(`DELETE FROM outbox_events WHERE payload->>'n' <> '1'`)
	w.recover("--yes")
	relays := []*process{w.start(), w.start()}
	for n := range 3 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n))
	}
	w.awaitRecovered()
	for _, p := range relays {
		if strings.Contains(p.log.String(), "made the slot") {
			t.Error("the slot is another one")
		}
	}
	w.eventually("no slot but the relay's is left", func() bool {
		return w.query(`SELECT string_agg(slot_name, ',') FROM pg_replication_slots WHERE database = current_database()`) == w.slot
	})
}

// TestARecoveryNeedsNoFreeSlot: the server has as many slots as it may.
func TestARecoveryNeedsNoFreeSlot(t *testing.T) {
	t.Parallel()
	server := newServerWith(t, map[string]string{"max_replication_slots": "1"})
	w := newWorldOn(t, server.URL("relay", "relay"), "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.commit(event(t, "1", `{"n":2}`))
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":3}`))
	for n := range 3 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
	p.awaitLog("no place for a temporary slot")
}

// TestAnEndangeredSlotIsReadFirst: a transaction holds up the snapshot, and the server would invalidate the slot meanwhile.
func TestAnEndangeredSlotIsReadFirst(t *testing.T) {
	t.Parallel()
	server := newServerWith(t, map[string]string{"max_slot_wal_keep_size": "64MB", "min_wal_size": "32MB", "max_wal_size": "32MB"})
	w := newWorldOn(t, server.URL("relay", "relay"), "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)
	open, err := w.pool.Begin(t.Context())
	w.must(err)
	_, err = open.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	for range 40 { // a megabyte each
		w.exec(`SELECT pg_logical_emit_message(false, 'padding', repeat('x', 1 << 20))`)
	}
	p := w.start()
	w.awaitBody(`{"n":1}`)
	p.awaitLog("reading the slot before the table")
	w.commit(event(t, "1", `{"n":2}`))
	w.must(open.Rollback(t.Context()))
	p.awaitLog("msg=streaming")
	w.awaitBody(`{"n":2}`)
}

// steps are texts of statements that a recovery beside an intact slot sends, one a step.
var steps = map[string]string{
	"marked":             "CREATE_REPLICATION_SLOT",
	"snapshot taken":     "SET epoch = c.epoch + 1, recover_to",
	"snapshot stored":    "START_REPLICATION",
	"table to be read":   "WITH page AS",
	"to be finished":     "SET horizon = recover_to",
	"position to be set": "SET flush_lsn = $4",
}

// TestARecoveryIsKilledAtEachStep: half of the rows are deleted before the relay starts again.
func TestARecoveryIsKilledAtEachStep(t *testing.T) {
	t.Parallel()
	const events = 40
	for _, gap := range gaps {
		for step, statement := range steps {
			t.Run(gap.name+"/"+step, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "orders.fifo")
				w.startStreaming().stop()
				write := func(from, to int) {
					for n := from; n < to; n++ {
						w.commit(event(t, fmt.Sprint(n%3), fmt.Sprintf(`{"n":%d}`, n)))
					}
					w.exec(`DELETE FROM outbox_events WHERE (payload->>'n')::int % 2 = 1`)
				}
				write(0, events/2)
				gap.do(w)
				write(events/2, events)
				between, through := w.newNetwork()
				stop := between.HoldBack(statement)
				p := w.start("DATABASE_URL=" + through)
				w.await(stop)
				p.kill()
				between.Close()
				p = w.startStreaming()
				write(events, events+4)
				w.awaitEach(events + 4)
				w.awaitRecovered()
				if strings.Contains(p.log.String(), "made the slot") {
					t.Error("the slot is another one")
				}
			})
		}
	}
}

// awaitEach waits until n numbered events have arrived.
func (w *world) awaitEach(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d events have arrived", n), func() bool {
		bodies := w.bodies()
		for i := range n {
			if bodies[fmt.Sprintf(`{"n":%d}`, i)] == 0 {
				return false
			}
		}
		return true
	})
}

// TestASlotAdvancedByHandStays: the rows that it skips are read from the table.
func TestASlotAdvancedByHandStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":0}`))
	w.exec(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, w.slot)
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '1'`)
	p := w.startStreaming()
	w.awaitEach(2)
	if strings.Contains(p.log.String(), "made the slot") {
		t.Error("the slot is another one")
	}
}
