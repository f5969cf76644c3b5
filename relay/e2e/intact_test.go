package e2e_test

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// awaitRecovered waits until a recovery has ended.
func (w *testEnv) awaitRecovered() {
	w.t.Helper()
	w.eventually("the recovery has ended", func() bool {
		return w.query(`SELECT (recover_from IS NULL)::text FROM relay_checkpoints
			WHERE slot_name = $1`, w.slot) == "true"
	})
}

// gap is a change after which a relay doubts a slot that is intact.
type gap struct {
	name        string
	do          func(*testEnv)
	skips       bool     // the slot no longer has events that were committed before
	also        []string // bodies of further events that have to arrive
	undecodable bool     // servers before Postgres 18 refuse to decode the log from then on
}

var gaps = []gap{
	{name: "a setting written again", do: func(w *testEnv) {
		w.exec(`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)
	}},
	{name: "table dropped and added", do: func(w *testEnv) {
		w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
		w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	}},
	{
		name: "table dropped and added during a transaction", do: (*testEnv).inFlight,
		also: []string{`{"flight":1}`, `{"flight":2}`, `{"flight":3}`},
	},
	{name: "publication created again", undecodable: true, do: func(w *testEnv) {
		w.exec(`DROP PUBLICATION outbox_pub`)
		w.exec(`CREATE PUBLICATION outbox_pub FOR TABLE outbox_events
			WITH (publish = 'insert', publish_via_partition_root = true)`)
	}},
	{name: "audit gap", do: func(w *testEnv) {
		w.exec(`UPDATE relay_checkpoints SET publication_fingerprint = 'events missing' WHERE slot_name = $1`, w.slot)
	}},
	{name: "slot advanced", skips: true, do: func(w *testEnv) {
		w.advanceSlot()
	}},
	{name: "by hand", do: func(w *testEnv) { w.recover("--yes") }},
}

// inFlight commits a transaction that wrote before, while and after the publication lacked the
// table.
func (w *testEnv) inFlight() {
	w.t.Helper()
	open, err := w.pool.Begin(w.t.Context())
	w.must(err)
	insert := func(n int) {
		w.must(outbox.Insert(w.t.Context(), open, event(w.t, "flight", fmt.Sprintf(`{"flight":%d}`, n))))
	}
	insert(1)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	insert(2)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	insert(3)
	w.must(open.Commit(w.t.Context()))
}

// newTestEnvOf is newTestEnv on a server of this version.
func newTestEnvOf(t *testing.T, version int, queue string) *testEnv {
	t.Helper()
	return newBareEnv(t, outboxtest.NewDatabase(t, version), queue, fakeaws.Options{})
}

// Rows that were deleted after their commit are in the log alone.
func TestGapKeepsEventsThatOnlyTheSlotHas(t *testing.T) {
	t.Parallel()
	for _, gap := range gaps {
		if gap.skips { // this slot has none of them
			continue
		}
		t.Run(gap.name, func(t *testing.T) {
			t.Parallel()
			onOldAndNew(t, func(t *testing.T, version int) { checkGap(t, version, gap) })
		})
	}
}

func checkGap(t *testing.T, version int, gap gap) {
	w := newTestEnvOf(t, version, "orders.fifo")
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
	for _, body := range gap.also {
		w.awaitBody(body)
	}
	if strings.Contains(p.log.String(), "event=slot_created") {
		t.Error("the relay created another slot")
	}
}

// The server streams the rows of the old table under its former name, and the new table assigns the
// same seqs.
func TestASwappedTableKeepsItsBacklog(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkASwappedTableKeepsItsBacklog)
}

func checkASwappedTableKeepsItsBacklog(t *testing.T, version int) {
	w := newTestEnvOf(t, version, "orders.fifo")
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

// Before Postgres 18 the server refuses to decode the part of the log that was written without the
// publication, at every attempt.
func TestAMissingPublicationEndsAtTheSnapshot(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkAMissingPublicationEndsAtTheSnapshot)
}

func checkAMissingPublicationEndsAtTheSnapshot(t *testing.T, version int) {
	w := newTestEnvOf(t, version, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`DROP PUBLICATION outbox_pub`)
	w.commit(event(t, "1", `{"n":2}`))
	w.exec(`CREATE PUBLICATION outbox_pub FOR TABLE outbox_events
		WITH (publish = 'insert', publish_via_partition_root = true)`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":3}`))
	for n := range 3 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
	w.awaitRecovered()
	// The server releases the slot for a moment. A checkpoint written in that moment ends the
	// session, and the next one continues.
	if w.serverVersion() < 18 && !strings.Contains(p.log.String(), "event=log_undecodable") {
		t.Error("the relay does not say that a part of the log is lost")
	}
}

func (w *testEnv) serverVersion() int {
	version, err := strconv.Atoi(w.query(`SELECT (current_setting('server_version_num')::int / 10000)::text`))
	w.must(err)
	return version
}

// The transaction writes rows before, while and after the publication lacks the table.
func TestAnOpenTransactionOverAGapArrives(t *testing.T) {
	t.Parallel()
	onStaleToo(t, checkOpenTransaction)
}

// onStaleToo runs a test on the oldest and the newest Postgres and on [pgtest.StaleRelease]. Each
// has its own server, because a transaction that stays open would hold up the slots of other tests.
func onStaleToo(t *testing.T, test func(*testing.T, *pgtest.Server)) {
	t.Helper()
	for _, options := range []pgtest.Options{{Version: 15}, {Release: pgtest.StaleRelease}, {Version: 18}} {
		t.Run(fmt.Sprint("Postgres ", cmp.Or(options.Release, strconv.Itoa(options.Version))), func(t *testing.T) {
			t.Parallel()
			test(t, newServerOf(t, options))
		})
	}
}

func checkOpenTransaction(t *testing.T, server *pgtest.Server) {
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
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
		return w.query(`SELECT count(*)::text FROM pg_replication_slots
			WHERE temporary AND database = current_database()`) == "1"
	})
	w.commit(event(t, "1", `{"n":5}`))
	w.must(open.Commit(t.Context()))
	w.commit(event(t, "1", `{"n":6}`))
	w.awaitRecovered()
	w.commit(event(t, "1", `{"n":7}`))
	w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '7'`) // only the stream has it now
	for n := range 7 {
		w.awaitBody(fmt.Sprintf(`{"n":%d}`, n+1))
	}
}

func TestTwoRelaysRecoverBesideOneSlot(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkTwoRelaysRecoverBesideOneSlot)
}

func checkTwoRelaysRecoverBesideOneSlot(t *testing.T, version int) {
	w := newTestEnvOf(t, version, "orders.fifo")
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
		if strings.Contains(p.log.String(), "event=slot_created") {
			t.Error("the relay created another slot")
		}
	}
	w.eventually("the relay's slot is the only one", func() bool {
		return w.query(`SELECT string_agg(slot_name, ',') FROM pg_replication_slots
			WHERE database = current_database()`) == w.slot
	})
}

// awaitEach waits until the events numbered 0 to n-1 have arrived.
func (w *testEnv) awaitEach(n int) {
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

// The relay reads the rows that the slot skips from the table.
func TestSlotAdvancedByHandIsKept(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkASlotAdvancedByHandStays)
}

func checkASlotAdvancedByHandStays(t *testing.T, version int) {
	w := newTestEnvOf(t, version, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":0}`))
	w.advanceSlot()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '1'`)
	p := w.startStreaming()
	w.awaitEach(2)
	if strings.Contains(p.log.String(), "event=slot_created") {
		t.Error("the relay created another slot")
	}
}
