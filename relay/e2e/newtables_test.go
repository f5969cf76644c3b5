package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// A transaction that began after the table was found holds up none of its rows, also if another
// table comes meanwhile, which begins a session.
func TestANewTableAwaitsTheTransactionsOfItsTime(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	env := w.schemas(1)
	w.startStreaming(env)
	w.createTable("tenant_new", "outbox")
	w.insertInto("tenant_new.outbox", "early", 1, 3)
	commitFirst := w.begin()
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_new.outbox`)
	w.eventually("the table is found", func() bool {
		return w.query(`SELECT (new_until IS NOT NULL)::text FROM relay_members
			WHERE relation = 'tenant_new.outbox'::regclass`) == "true"
	})
	commitSecond := w.begin()
	w.addTable("tenant_newer", "outbox")
	w.insertInto("tenant_newer.outbox", "1", 1, 1)
	w.awaitOfTable("tenant_newer.outbox", "1", 1)
	w.eventually("status names the table that waits", func() bool {
		w.exec(`UPDATE relay_members SET updated_at = updated_at - interval '1 minute'`)
		out, _ := w.command([]string{env}, "status")
		return strings.Contains(out, "of that time: tenant_new.outbox")
	})
	commitFirst()
	w.awaitOfTable("tenant_new.outbox", "early", 3)
	commitSecond()
}

// begin begins a transaction that writes, and returns its commit.
func (w *testEnv) begin() (commit func()) {
	w.t.Helper()
	tx, err := w.pool.Begin(w.t.Context())
	w.must(err)
	w.t.Cleanup(func() { _ = tx.Rollback(w.t.Context()) })
	_, err = tx.Exec(w.t.Context(), `SELECT pg_current_xact_id()`)
	w.must(err)
	return func() { w.must(tx.Commit(w.t.Context())) }
}

// The relay is killed after the first partition of a new table is accounted for. The rows of the
// second one are those of a new table still, so they stop no relay.
func TestANewPartitionedTableIsKilledBetween(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := []string{w.schemas(1), "RELAY_ON_SLOT_LOSS=halt", "RELAY_ID_UNIQUE=assert"}
	w.exec(`ALTER PUBLICATION outbox_pub SET (publish_via_partition_root = true)`)
	p := w.startStreaming(env...)
	w.exec(`CREATE SCHEMA tenant_new`)
	w.exec(`CREATE TABLE tenant_new.outbox (LIKE public.outbox_events INCLUDING DEFAULTS INCLUDING IDENTITY)
		PARTITION BY LIST (aggregate_id)`)
	for _, aggregate := range []string{"first", "second"} {
		w.exec(fmt.Sprintf(`CREATE TABLE tenant_new.%s PARTITION OF tenant_new.outbox
			FOR VALUES IN ('%[1]s')`, aggregate))
		w.insertInto("tenant_new.outbox", aggregate, 1, 2)
	}
	unavailable := w.broker.Script(fakeaws.Match{
		Action: "SendMessageBatch",
		Entry:  func(m *fakeaws.Message) bool { return strings.HasSuffix(m.GroupID, "/second") },
	}, fakeaws.FailEntries("InternalError", "unavailable in the test", false))
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_new.outbox`)
	w.eventually("the rows of the first partition are published", func() bool {
		return w.query(`SELECT count(known)::text FROM relay_members
			WHERE relation = to_regclass('tenant_new.first')`) == "1"
	})
	p.kill()
	unavailable.Clear()
	p = w.startStreaming(env...)
	w.awaitOfTable("tenant_new.outbox", "second", 2)
	w.awaitAccounted("tenant_new.second")
	if strings.Contains(p.log.String(), "event=events_missing") {
		t.Error("the rows of a new table count as missing")
	}
}

// newTableWithADeadLetter has a relay find a new table, in which aggregate 1 has events up to
// before. The three events after them are streamed: the first becomes a dead letter, and the others
// wait behind it. join commits a fourth one, whose row is older, and lets the relay read the rows
// of the table.
func (w *testEnv) newTableWithADeadLetter(before int) (join func()) {
	w.t.Helper()
	w.createTable("tenant_new", "outbox")
	w.insertInto("tenant_new.outbox", "1", 1, before)
	tx, err := w.pool.Begin(w.t.Context())
	w.must(err)
	w.t.Cleanup(func() { _ = tx.Rollback(w.t.Context()) })
	_, err = tx.Exec(w.t.Context(), `
		INSERT INTO tenant_new.outbox (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'order', '1', 'order.created', json_build_object('n', $1::integer))`, before+4)
	w.must(err)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_new.outbox`)
	w.eventually("the table is found, and deferrals know its rows", func() bool {
		return w.query(`SELECT count(*)::text FROM relay_members m, relay_checkpoints c
			WHERE m.relation = 'tenant_new.outbox'::regclass AND m.new_until IS NOT NULL AND c.slot_name = m.slot_name
			  AND (SELECT bool_and(pg_visible_in_snapshot(e.xid, c.horizon)) FROM tenant_new.outbox e)`) == "1"
	})
	w.insertInto("tenant_new.outbox", "1", before+1, before+3)
	w.eventually("events wait behind the dead letter", func() bool {
		return w.deadLetters() == "parked" && w.deferralStates() == "deferred"
	})
	return func() { w.must(tx.Commit(w.t.Context())) }
}

// refuse has the queue refuse these events of the aggregates 1.
func (w *testEnv) refuse(numbers ...int) *fakeaws.Rule {
	return w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		return strings.HasSuffix(m.GroupID, "/1") &&
			slices.ContainsFunc(numbers, func(n int) bool { return m.Body == numbered(n) })
	}}, fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
}

func (w *testEnv) awaitAccounted(table string) {
	w.t.Helper()
	admin, err := pgx.Connect(w.t.Context(), pgtest.SuperuserURL(w.t, w.url))
	w.must(err)
	defer admin.Close(w.t.Context()) //nolint:errcheck // the test has ended
	checked := time.Now()
	w.eventually("the table is accounted for", func() bool {
		if time.Since(checked) > 2*time.Second { // the background writer may take half a minute for that
			_, err := admin.Exec(w.t.Context(), `CHECKPOINT`)
			w.must(err)
			checked = time.Now()
		}
		return w.query(`SELECT accounted::text FROM relay_members WHERE relation = $1::regclass`, table) == "true"
	})
}

// numbersOf returns the numbers of a table's events in the order of their arrival.
func (w *testEnv) numbersOf(table string) string {
	var numbers []int
	for _, r := range w.ofTable(table) {
		n := 1
		for r.Body != numbered(n) {
			n++
		}
		numbers = append(numbers, n)
	}
	return fmt.Sprint(numbers)
}

func (w *testEnv) awaitNumbers(table, want string) {
	w.t.Helper()
	w.eventually("events "+want+" arrive", func() bool { return len(w.numbersOf(table)) >= len(want) })
	if got := w.numbersOf(table); got != want {
		w.t.Fatalf("the events arrive in the order %s, want %s", got, want)
	}
}

// Rows that a table brings are sent if they are older than the dead letter of their aggregate. The
// deferral behind it does not know the row of the transaction that ended late.
func TestRowsOfANewTableBecomeNoDeadLetters(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	env := []string{w.schemas(1), "RELAY_ROWS_STAY=assert"}
	w.startStreaming(env...)
	refused := w.refuse(3)
	join := w.newTableWithADeadLetter(2)
	join()
	w.awaitAccounted("tenant_new.outbox")
	if state := w.deadLetters(); state != "parked" {
		t.Fatalf("the dead letters are %s", state)
	}
	w.awaitNumbers("tenant_new.outbox", "[1 2]")
	refused.Clear()
	w.redriveAll(env...)
	w.awaitNumbers("tenant_new.outbox", "[1 2 3 6 4 5]")
}

// A row that the table brings is refused, and the deferral of its aggregate begins behind it.
func TestRowsOfANewTableWaitBehindTheirDeadLetter(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	env := []string{w.schemas(1), "RELAY_ROWS_STAY=assert"}
	w.startStreaming(env...)
	refused := w.refuse(1, 4)
	w.newTableWithADeadLetter(3)()
	w.awaitAccounted("tenant_new.outbox")
	if state := w.deadLetters(); state != "parked,parked" {
		t.Fatalf("the dead letters are %s", state)
	}
	w.awaitNumbers("tenant_new.outbox", "[]")
	refused.Clear()
	w.redriveAll(env...)
	w.awaitNumbers("tenant_new.outbox", "[4 1 2 3 7 5 6]") // dead letters are redriven first
}

// startDuring starts a relay, and calls change while the first start creates the slot. The server
// waits for two transactions then, one after the other, and decodes insert before it has seen all.
// So it decodes with a catalog of before the change, in each session, until the position from which
// it restarts is behind that time.
func (w *testEnv) startDuring(change func(), insert func(), env ...string) {
	w.t.Helper()
	await := func(what string) {
		w.eventually("the server waits for the "+what+" transaction", func() bool {
			return w.query(`SELECT count(*)::text FROM pg_locks l JOIN pg_locks h USING (transactionid)
				JOIN pg_stat_activity a ON a.pid = h.pid AND a.application_name = $1
				WHERE NOT l.granted AND h.granted`, what) == "1"
		})
	}
	open := func(what string) (commit func()) {
		tx, err := w.pool.Begin(w.t.Context())
		w.must(err)
		w.t.Cleanup(func() { _ = tx.Rollback(w.t.Context()) })
		_, err = tx.Exec(w.t.Context(), `SELECT pg_current_xact_id(), set_config('application_name', $1, true)`, what)
		w.must(err)
		return func() { w.must(tx.Commit(w.t.Context())) }
	}
	commitFirst := open("first")
	p := w.start(env...)
	await("first")
	commitSecond := open("second")
	change()
	commitFirst()
	await("second")
	commitThird := open("third")
	insert()
	commitSecond()
	p.awaitLog("event=streaming")
	commitThird()
}

// An old transaction keeps the position for half a minute.
func TestATableAddedDuringTheFirstStartArrives(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	env := w.schemas(1)
	w.createTable("tenant_new", "outbox")
	w.insertInto("tenant_new.outbox", "1", 1, 1)
	w.startDuring(func() { w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_new.outbox`) },
		func() { w.insertInto("tenant_0.outbox", "1", 1, 1) }, env, "RELAY_AUDIT=off")
	w.awaitOfTable("tenant_new.outbox", "1", 1)
	w.eventually("the rows of the table are read", func() bool {
		return w.query(`SELECT count(*)::text FROM relay_members
			WHERE relation = 'tenant_new.outbox'::regclass AND known IS NOT NULL`) == "1"
	})
	old, err := w.pool.Begin(t.Context())
	w.must(err)
	t.Cleanup(func() { _ = old.Rollback(t.Context()) })
	_, err = old.Exec(t.Context(), `INSERT INTO tenant_0.outbox (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'order', '2', 't', '{}')`)
	w.must(err)
	w.insertInto("tenant_new.outbox", "1", 2, 3)
	w.awaitOfTable("tenant_new.outbox", "1", 3)
	w.must(old.Commit(t.Context()))
	w.insertInto("tenant_new.outbox", "1", 4, 5)
	w.awaitAccounted("tenant_new.outbox")
	w.awaitOfTable("tenant_new.outbox", "1", 5)
}

// The server may end the stream with an error, because its catalog is incomplete.
func TestAPartitionAttachedDuringTheFirstStartArrives(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders")
	w.partitionByTime()
	w.fill("filled", newXID, 1, 1)
	w.startDuring(func() { w.attachOld("filled") },
		func() { w.exec(`INSERT INTO outbox_events (payload) VALUES ('before')`) }, "RELAY_AUDIT=off")
	w.awaitBody("before")
	w.awaitBody("1")
	w.awaitAccounted("filled")
	w.exec(`INSERT INTO outbox_events (payload, created_at) VALUES ('after', '2001-01-01')`)
	w.awaitBody("after")
}
