package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// addTable creates a table like that of the relay's schema, and adds it to the publication.
func (w *testEnv) addTable(schema, name string) {
	w.t.Helper()
	w.createTable(schema, name)
	w.exec(fmt.Sprintf(`ALTER PUBLICATION outbox_pub ADD TABLE %s.%s`, schema, name))
}

func (w *testEnv) createTable(schema, name string) {
	w.t.Helper()
	w.exec(`CREATE SCHEMA IF NOT EXISTS ` + schema)
	w.exec(fmt.Sprintf(`CREATE TABLE %s.%s (LIKE public.outbox_events INCLUDING ALL)`, schema, name))
}

// schemas creates this many schemas with a table, and returns the setting that names them.
func (w *testEnv) schemas(n int) string {
	w.t.Helper()
	for i := range n {
		w.addTable(fmt.Sprintf("tenant_%d", i), "outbox")
	}
	return "RELAY_TABLE=tenant_*.outbox"
}

// insertInto writes events from first to last of one aggregate to a table, one transaction each.
func (w *testEnv) insertInto(table, aggregate string, first, last int) {
	w.t.Helper()
	for n := first; n <= last; n++ {
		w.exec(`INSERT INTO `+table+` (id, aggregate_type, aggregate_id, event_type, payload)
			VALUES (gen_random_uuid(), 'order', $1, 'order.created', json_build_object('n', $2::integer))`,
			aggregate, n)
	}
}

// ofTable returns the messages of one table, without the repetitions that a FIFO queue drops.
func (w *testEnv) ofTable(table string) (receipts []fakeaws.Receipt) {
	for _, r := range w.broker.Received(w.queue.ARN) {
		if attribute(r.Attributes, outbox.AttributeTable) == table && !r.Duplicate {
			receipts = append(receipts, r)
		}
	}
	return receipts
}

// awaitOfTable waits for events 1 to n of an aggregate of a table, and checks their order.
func (w *testEnv) awaitOfTable(table, aggregate string, n int) {
	w.t.Helper()
	group := table + "/order/" + aggregate
	ofGroup := func() (bodies []string) {
		for _, r := range w.ofTable(table) {
			if r.GroupID == group {
				bodies = append(bodies, r.Body)
			}
		}
		return bodies
	}
	w.eventually(fmt.Sprintf("%d events of %s arrive", n, group), func() bool { return len(ofGroup()) >= n })
	for i, body := range ofGroup() {
		if body != numbered(i+1) {
			w.t.Fatalf("group %s: event %d is %s", group, i+1, body)
		}
	}
}

// The same aggregates are written to both tables, while the relay is killed.
func TestTablesKeepTheirOwnOrder(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.addTable("billing", "outbox")
	env := "RELAY_TABLE=public.outbox_events,billing.outbox"
	tables := []string{"public.outbox_events", "billing.outbox"}
	p := w.startStreaming(env)
	const rounds, each = 4, 20
	for round := range rounds {
		for _, table := range tables {
			w.insertInto(table, "1", round*each+1, (round+1)*each)
			w.insertInto(table, "2", round*each+1, (round+1)*each)
		}
		p.kill()
		p = w.start(env)
	}
	for _, table := range tables {
		w.awaitOfTable(table, "1", rounds*each)
		w.awaitOfTable(table, "2", rounds*each)
	}
	first := w.ofTable("billing.outbox")[0]
	want := "billing.outbox/" + attribute(first.Attributes, outbox.AttributeEventID)
	if first.DeduplicationID != want {
		t.Errorf("deduplication id %s, want %s", first.DeduplicationID, want)
	}
}

// A table that leaves is no error of the relay, and may be a mistake.
func TestStatusNamesTablesThatLeft(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.addTable("billing", "outbox")
	env := "RELAY_TABLE=public.outbox_events,billing.outbox"
	w.startStreaming(env)
	w.insertInto("billing.outbox", "1", 1, 1)
	w.awaitOfTable("billing.outbox", "1", 1)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE billing.outbox`)
	w.awaitStatus(1, "publication outbox_pub has no table billing.outbox: add the table", env)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.awaitStatus(1, "publication outbox_pub has no table public.outbox_events, billing.outbox: add the table", env)
	w.insertInto("billing.outbox", "1", 2, 2)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events, billing.outbox`)
	w.awaitOfTable("billing.outbox", "1", 2)
	w.awaitStatus(0, "ok  slot", env)
}

// Two events share id, seq and transaction. Neither is taken for the other one.
func TestEqualRowsOfTwoTablesBothArrive(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	const insert = `WITH event AS (SELECT gen_random_uuid() AS id), first AS (
		INSERT INTO tenant_0.outbox (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT id, 'order', '1', 'order.created', '{"n" : 1}' FROM event)
		INSERT INTO tenant_1.outbox (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT id, 'order', '1', 'order.created', '{"n" : 1}' FROM event`
	w.startStreaming(env)
	w.exec(insert)
	w.awaitOfTable("tenant_0.outbox", "1", 1)
	w.awaitOfTable("tenant_1.outbox", "1", 1)
}

func TestLostSlotIsRepairedFromEachSchema(t *testing.T) {
	t.Parallel()
	const tenants = 20
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(tenants)
	p := w.startStreaming(env)
	for i := range tenants {
		w.insertInto(fmt.Sprintf("tenant_%d.outbox", i), "1", 1, 2)
	}
	for i := range tenants {
		w.awaitOfTable(fmt.Sprintf("tenant_%d.outbox", i), "1", 2)
	}
	p.stop()
	for i := range tenants {
		w.insertInto(fmt.Sprintf("tenant_%d.outbox", i), "1", 3, 4)
	}
	w.dropSlot()
	between, through := w.newNetwork()
	stop := between.HoldBack("WITH page AS") // of a table in the middle
	p = w.start(env, "DATABASE_URL="+through)
	w.await(stop)
	p.kill()
	between.Close()
	p = w.startStreaming(env)
	for i := range tenants {
		w.insertInto(fmt.Sprintf("tenant_%d.outbox", i), "1", 5, 5)
		w.awaitOfTable(fmt.Sprintf("tenant_%d.outbox", i), "1", 5)
	}
	p.awaitLog("event=recovered")
}

// The audit counts each table by itself: rows that are deleted from another one hide nothing.
func TestAuditFindsARowOfOneTable(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.partition()
	w.addTable("billing", "outbox")
	p := w.startStreaming("RELAY_TABLE=public.outbox_events,billing.outbox", "RELAY_ID_UNIQUE=assert")
	p.awaitLog("event=audit_begun")
	w.exec(`CREATE UNLOGGED TABLE unlogged PARTITION OF outbox_events FOR VALUES FROM (5000) TO (6000)`)
	w.eventually("the partition is known", func() bool {
		return w.query(`SELECT accounted::text FROM relay_members WHERE relation = 'unlogged'::regclass`) == "true"
	})
	w.exec(`WITH streamed AS (
			INSERT INTO billing.outbox (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'order', '1', 't', '{"deleted":true}' FROM generate_series(1, 5))
		INSERT INTO outbox_events (id, seq, event_type, payload)
			VALUES (gen_random_uuid(), 5000, 't', '{"unlogged":true}')`)
	w.exec(`DELETE FROM billing.outbox`)
	w.awaitBody(`{"unlogged":true}`)
	p.awaitLog(alarm)
}

// Rows that were written in between are not in the log.
func TestATableThatComesBackLosesNothing(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			env := w.schemas(2)
			p := w.startStreaming(env)
			w.insertInto("tenant_0.outbox", "1", 1, 1)
			w.awaitOfTable("tenant_0.outbox", "1", 1)
			if !running {
				p.stop()
			}
			w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_0.outbox`)
			w.insertInto("tenant_0.outbox", "1", 2, 2)
			w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_0.outbox`)
			if !running {
				w.start(env)
			}
			w.awaitOfTable("tenant_0.outbox", "1", 2)
		})
	}
}

func TestRetentionRemovesRowsOfEachTable(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(3)
	for i := range 3 {
		w.insertInto(fmt.Sprintf("tenant_%d.outbox", i), "1", 1, 3)
	}
	w.startStreaming(env, "RELAY_START=table", "RELAY_RETENTION=1s")
	for i := range 3 {
		table := fmt.Sprintf("tenant_%d.outbox", i)
		w.awaitOfTable(table, "1", 3)
		w.insertInto(table, "1", 4, 4)
		w.awaitOfTable(table, "1", 4)
		w.eventually("the rows of "+table+" are removed", func() bool {
			return w.query(`SELECT count(*)::text FROM `+table) == "0"
		})
	}
}

func TestOneTableIsReplayed(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	w.startStreaming(env)
	for i := range 2 {
		w.insertInto(fmt.Sprintf("tenant_%d.outbox", i), "1", 1, 3)
		w.awaitOfTable(fmt.Sprintf("tenant_%d.outbox", i), "1", 3)
		w.awaitDeliveredOf(fmt.Sprintf("tenant_%d.outbox", i), "xid")
	}
	output, err := w.command([]string{env}, "replay", "--aggregate=order/1", "--yes")
	if err == nil || !strings.Contains(output, "--table=tenant_0.outbox") {
		t.Errorf("replay of all tables: %v: %s", err, output)
	}
	output, err = w.command([]string{env}, "replay", "--aggregate=order/1", "--table=tenant_1.outbox", "--yes")
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.eventually("the events are replayed", func() bool { return len(w.replayed()) >= 3 })
	for _, r := range w.replayed() {
		if table := attribute(r.Attributes, outbox.AttributeTable); table != "tenant_1.outbox" {
			t.Errorf("an event of %s is replayed", table)
		}
	}
}

// The aggregate has the same name in both tables.
func TestAPoisonedTableBlocksNoOther(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	refused := w.broker.Script(fakeaws.Match{
		Action: "SendMessageBatch",
		Entry: func(m *fakeaws.Message) bool {
			return strings.HasPrefix(m.GroupID, "tenant_0.outbox/") && m.Body == numbered(1)
		},
	}, fakeaws.FailEntries("InvalidMessageContents", "refused by the test", true))
	w.startStreaming(env)
	for i := range 2 {
		w.insertInto(fmt.Sprintf("tenant_%d.outbox", i), "1", 1, 2)
	}
	w.awaitOfTable("tenant_1.outbox", "1", 2)
	w.eventually("both events of the other table are parked", func() bool { return w.deadLetters() == "parked,parked" })
	if n := len(w.ofTable("tenant_0.outbox")); n != 0 {
		t.Errorf("%d events of the poisoned aggregate arrived", n)
	}
	refused.Clear()
	w.redriveAll(env)
	w.awaitOfTable("tenant_0.outbox", "1", 2)
}

// A transaction that is open over ADD TABLE has written to the table before.
func TestASchemaThatAppearsIsRelayed(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	env := w.schemas(1)
	p := w.startStreaming(env)
	w.createTable("tenant_new", "outbox")
	w.insertInto("tenant_new.outbox", "early", 1, 3)
	tx, err := w.pool.Begin(t.Context())
	w.must(err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	_, err = tx.Exec(t.Context(), `INSERT INTO tenant_new.outbox (id, aggregate_type, aggregate_id, event_type, payload)
		VALUES (gen_random_uuid(), 'order', 'open', 'order.created', json_build_object('n', 1))`)
	w.must(err)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_new.outbox`)
	p.awaitLog("event=tables_joined")
	w.insertInto("tenant_new.outbox", "later", 1, 3)
	w.awaitOfTable("tenant_new.outbox", "later", 3)
	w.must(tx.Commit(t.Context()))
	w.awaitOfTable("tenant_new.outbox", "open", 1)
	w.awaitOfTable("tenant_new.outbox", "early", 3)
	w.insertInto("tenant_0.outbox", "1", 1, 1)
	w.awaitOfTable("tenant_0.outbox", "1", 1)
}

// The checks of all of them take longer than the limit of one step of a session.
func TestManyTablesAtOnceAreRelayed(t *testing.T) {
	t.Parallel()
	const tables = 100
	w := newTestEnv(t, "orders.fifo")
	between, through := w.newNetwork()
	p := w.startStreaming(w.schemas(1), "DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT=3s")
	var added []string
	for i := range tables {
		w.createTable(fmt.Sprintf("tenant_new_%d", i), "outbox")
		added = append(added, fmt.Sprintf("tenant_new_%d.outbox", i))
	}
	w.insertInto(added[0], "early", 1, 2)
	between.Slow(faultproxy.Pace{Delay: 5 * time.Millisecond})
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE ` + strings.Join(added, ", "))
	p.awaitLog("event=tables_joined")
	w.insertInto(added[tables-1], "later", 1, 2)
	w.awaitOfTable(added[tables-1], "later", 2)
	w.awaitOfTable(added[0], "early", 2)
}

// FOR TABLES IN SCHEMA has no entry for the table.
func TestATableOfAPublishedSchemaIsRelayed(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(1)
	p := w.startStreaming(env)
	w.exec(`CREATE SCHEMA tenant_new`)
	admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, w.url))
	w.must(err)
	defer admin.Close(t.Context())
	_, err = admin.Exec(t.Context(), `ALTER PUBLICATION outbox_pub ADD TABLES IN SCHEMA tenant_new`)
	w.must(err)
	w.createTable("tenant_new", "outbox")
	w.insertInto("tenant_new.outbox", "1", 1, 20)
	w.awaitOfTable("tenant_new.outbox", "1", 20)
	p.awaitLog("event=tables_joined")
}

func TestADroppedSchemaIsLetGo(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	p := w.startStreaming(env)
	w.insertInto("tenant_1.outbox", "1", 1, 3)
	w.exec(`DROP SCHEMA tenant_1 CASCADE`)
	w.awaitOfTable("tenant_1.outbox", "1", 3)
	p.awaitLog("event=tables_left")
	w.insertInto("tenant_0.outbox", "1", 1, 3)
	w.awaitOfTable("tenant_0.outbox", "1", 3)
	w.addTable("tenant_1", "outbox") // again, and its seqs begin at 1
	w.insertInto("tenant_1.outbox", "again", 1, 3)
	w.awaitOfTable("tenant_1.outbox", "again", 3)
}

func TestOneTableBecomesSeveral(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.insertInto("outbox_events", "1", 1, 2)
	w.awaitReceived(2)
	p.stop()
	w.insertInto("outbox_events", "1", 3, 4)
	w.addTable("billing", "outbox")
	w.insertInto("billing.outbox", "1", 1, 2)
	env := "RELAY_TABLE=public.outbox_events,billing.outbox"
	p = w.startStreaming(env)
	w.awaitOfTable("billing.outbox", "1", 2)
	w.awaitAll(4)
	if strings.Contains(p.log.String(), "event=gap") {
		t.Error("the relay takes the new table for a gap")
	}
	p.stop()
	output, err := w.command(nil, "check")
	if err == nil || !strings.Contains(output, "billing.outbox") {
		t.Errorf("check with one of the tables: %v: %s", err, output)
	}
	w.startStreaming("RELAY_TABLE=*.outbox,public.outbox_events")
	w.insertInto("billing.outbox", "1", 3, 3)
	w.awaitOfTable("billing.outbox", "1", 3)
}

func TestCheckNamesTheTableThatLacksSomething(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(3)
	w.createTable("tenant_unpublished", "outbox")
	w.exec(`ALTER TABLE tenant_1.outbox DROP COLUMN headers`)
	output, err := w.command([]string{env}, "check")
	for _, text := range []string{`tenant_1.outbox`, `headers`, `tenant_unpublished.outbox matches tenant_*.outbox`} {
		if err == nil || !strings.Contains(output, text) {
			t.Errorf("%v: check does not say %q: %s", err, text, output)
		}
	}
	w.exec(`ALTER TABLE tenant_1.outbox ADD COLUMN headers jsonb NOT NULL DEFAULT '{}'`)
	if output, err := w.command([]string{env}, "check"); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

// The same aggregate of another table is not held up, and both keep their order.
func TestABusyAggregateOfOneTableWaits(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := []string{w.schemas(2), "RELAY_WINDOW_EVENTS=200", "RELAY_ROWS_STAY=assert"}
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(15*time.Millisecond))
	slow := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		return strings.HasPrefix(m.GroupID, "tenant_1.outbox/")
	}}, fakeaws.Delay(200*time.Millisecond)) // so that it still waits when the test looks
	burst := func(table string, first, last int) {
		w.exec(`INSERT INTO `+table+` (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'order', '1', 't', json_build_object('n', i)
			FROM generate_series($1::int, $2::int) AS i`, first, last)
	}
	state := func() string { return w.query(`SELECT string_agg(DISTINCT state, ',') FROM outbox_deferrals`) }
	p := w.startStreaming(env...)
	burst("tenant_1.outbox", 1, 300)
	w.eventually("the aggregate is deferred", func() bool { return state() == "deferred" })
	burst("tenant_0.outbox", 1, 20)
	w.awaitOfTable("tenant_0.outbox", "1", 20)
	if n := len(w.ofTable("tenant_1.outbox")); n >= 300 {
		t.Error("the other table has waited for the busy aggregate")
	}
	if out, err := w.command(env, "status"); !strings.Contains(out, "tenant_1.outbox/order 1") {
		t.Errorf("status: %v: %s", err, out)
	}
	slow.Clear()
	p.kill()
	w.startStreaming(env...)
	burst("tenant_1.outbox", 301, 320)
	w.awaitOfTable("tenant_1.outbox", "1", 320)
	w.eventually("nothing waits", func() bool { return state() == "" })
}

// The standby has looked at the tables before one came.
func TestAStandbyBeginsWithTheTablesOfNow(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(1)
	active := w.startStreaming(env)
	standby := w.start(env)
	standby.awaitLog("event=standby")
	w.addTable("tenant_new", "outbox")
	active.awaitLog("event=tables_joined")
	w.insertInto("tenant_new.outbox", "1", 1, 1)
	w.awaitOfTable("tenant_new.outbox", "1", 1)
	active.kill()
	standby.awaitLog("event=streaming")
	if !strings.Contains(standby.log.String(), "event=tables_joined") {
		t.Error("the session begins with the tables of the time before")
	}
	w.insertInto("tenant_new.outbox", "1", 2, 2)
	w.awaitOfTable("tenant_new.outbox", "1", 2)
}

// The new table has the name and the seqs of the one before. Its rows are not in the log.
func TestASwappedTableLosesNoRow(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			env := w.schemas(2)
			p := w.startStreaming(env)
			if !running {
				p.stop()
			}
			w.insertInto("tenant_0.outbox", "before", 1, 5)
			if running {
				w.awaitOfTable("tenant_0.outbox", "before", 5)
			}
			w.must(pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
				for _, sql := range []string{
					`DROP TABLE tenant_0.outbox`,
					`CREATE TABLE tenant_0.outbox (LIKE public.outbox_events INCLUDING ALL)`,
					`INSERT INTO tenant_0.outbox (id, aggregate_type, aggregate_id, event_type, payload)
						SELECT gen_random_uuid(), 'order', 'swapped', 't', json_build_object('n', i)
						FROM generate_series(1, 3) AS i`,
					`ALTER PUBLICATION outbox_pub ADD TABLE tenant_0.outbox`,
				} {
					if _, err := tx.Exec(t.Context(), sql); err != nil {
						return err
					}
				}
				return nil
			}))
			if !running {
				w.start(env)
			}
			w.awaitOfTable("tenant_0.outbox", "before", 5)
			w.awaitOfTable("tenant_0.outbox", "swapped", 3)
		})
	}
}

// The first start has created the slot, and ends before it has numbered its tables, of which there
// are none.
func TestATableAfterABrokenFirstStartArrives(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	const env = "RELAY_TABLE=tenant_*.outbox"
	between, through := w.newNetwork()
	stop := between.HoldBack("relay_checkpoints c SET table")
	p := w.start(env, "DATABASE_URL="+through)
	w.await(stop)
	p.kill()
	between.Close()
	w.createTable("tenant_0", "outbox")
	w.insertInto("tenant_0.outbox", "1", 1, 3)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_0.outbox`)
	w.start(env)
	w.awaitOfTable("tenant_0.outbox", "1", 3)
}
