package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
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
	accounted := func(partition string) bool {
		return w.query(`SELECT accounted::text FROM relay_members
			WHERE relation = to_regclass($1)`, partition) == "true"
	}
	w.eventually("the first partition is accounted for", func() bool { return accounted("tenant_new.first") })
	p.kill()
	unavailable.Clear()
	p = w.startStreaming(env...)
	w.awaitOfTable("tenant_new.outbox", "second", 2)
	w.eventually("the second partition is accounted for", func() bool { return accounted("tenant_new.second") })
	if strings.Contains(p.log.String(), "event=events_missing") {
		t.Error("the rows of a new table count as missing")
	}
}
