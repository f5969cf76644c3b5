package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// onlyKeys excludes the payload from the log.
const onlyKeys = `ALTER PUBLICATION outbox_pub SET TABLE outbox_events (id, seq, xid, aggregate_type, aggregate_id)`

// TestRowsOfAMistakenTableAreParked: the table is no outbox table, and left the publication again.
func TestRowsOfAMistakenTableAreParked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ columns, then string }{
		"without further columns": {},
		"with a further column":   {columns: ", remark text"},
		"that was dropped":        {", remark text", `DROP TABLE tenant_x.outbox`},
		"under another name":      {", remark text", `ALTER TABLE tenant_x.outbox RENAME TO moved`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			env := w.schemas(2)
			w.startStreaming(env).stop()
			w.exec(`CREATE SCHEMA tenant_x`)
			w.exec(`CREATE TABLE tenant_x.outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), payload json` +
				c.columns + `)`)
			w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_x.outbox`)
			w.exec(`INSERT INTO tenant_x.outbox (payload) VALUES ('{}')`)
			w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_x.outbox`)
			if c.then != "" {
				w.exec(c.then)
			}
			p := w.start(env)
			if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "run relay recover") {
				t.Fatalf("the relay ends with %v", err)
			}
			if output, err := w.command([]string{env}, "recover", "--yes"); err != nil {
				t.Fatalf("relay recover ends with %v: %s", err, output)
			}
			w.startStreaming(env)
			w.awaitStatus(1, "1 event is parked: 1 IncompleteRow", env)
			w.insertInto("tenant_0.outbox", "1", 1, 1)
			w.awaitOfTable("tenant_0.outbox", "1", 1)
		})
	}
}

// TestARenamedColumnOfATableThatLeftIsAsked: a setting reads the row, and the relay does not park
// it.
func TestARenamedColumnOfATableThatLeftIsAsked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	w.startStreaming(env).stop()
	w.insertInto("tenant_1.outbox", "1", 1, 1)
	w.exec(`DELETE FROM tenant_1.outbox`)
	w.exec(`ALTER TABLE tenant_0.outbox RENAME payload TO body`)
	w.exec(`ALTER TABLE tenant_1.outbox RENAME payload TO body`)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_1.outbox`)
	if output, err := w.command([]string{env}, "recover", "--yes"); err != nil {
		t.Fatalf("relay recover ends with %v: %s", err, output)
	}
	setting := w.start(env, "RELAY_COLUMN_PAYLOAD=body").follow()
	w.startStreaming(env, setting)
	w.awaitOfTable("tenant_1.outbox", "1", 1)
}

// TestAStopWaitsForNoLookup: the relay looks for rows of the log in the table, which is locked.
func TestAStopWaitsForNoLookup(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.lookUpRows(5000)
	p := w.start("RELAY_WAL_SENDER_TIMEOUT=60s") // a lookup may take 13 s
	p.awaitLog("event=log_incomplete")
	tx, err := w.pool.Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE outbox_events`)
	w.must(err)
	const lookups = `SELECT count(*)::text FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT EXISTS (SELECT FROM % "id" = %'
		  AND datname = current_database()`
	w.eventually("a lookup waits", func() bool { return w.query(lookups) == "1" })
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the relay stopped after %s", took)
	}
	w.must(tx.Rollback(t.Context()))
	w.startStreaming()
	w.awaitRecovered()
}

// TestManySlowLookupsEndNoSession: all rows of one read together take longer than
// RELAY_WAL_SENDER_TIMEOUT.
func TestManySlowLookupsEndNoSession(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.lookUpRows(100)
	between, through := w.newNetwork()
	between.Slow(faultproxy.Pace{Delay: 25 * time.Millisecond})
	p := w.start("DATABASE_URL="+through, "RELAY_WAL_SENDER_TIMEOUT=4s")
	p.awaitLog("event=log_incomplete")
	w.awaitRecovered()
	if strings.Contains(p.log.String(), "event=session_ended") {
		t.Errorf("a session ended: %s", tail(p.log.String(), 3))
	}
}

// lookUpRows commits n rows that the relay looks for in the table. They have no seq in the log, so
// it does so although a recovery has published them.
func (w *testEnv) lookUpRows(n int) {
	w.t.Helper()
	w.exec(strings.Replace(onlyKeys, "seq, ", "", 1))
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', '1', 'order.created', '{}' FROM generate_series(1, $1)`, n)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`)
}
