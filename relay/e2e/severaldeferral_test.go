package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// deferred starts a relay of two tables, and has an aggregate of tenant_1.outbox wait with 300
// events. Each request takes 30 ms.
func (w *testEnv) deferred() (p *process, env []string) {
	return w.deferredAt(30 * time.Millisecond)
}

func (w *testEnv) deferredAt(request time.Duration) (p *process, env []string) {
	w.t.Helper()
	env = []string{w.schemas(2), "RELAY_WINDOW_EVENTS=200", "RELAY_ROWS_STAY=assert"}
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(request))
	p = w.startStreaming(env...)
	w.exec(`INSERT INTO tenant_1.outbox (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', '1', 't', json_build_object('n', i) FROM generate_series(1, 300) AS i`)
	w.eventually("the aggregate is deferred", func() bool { return w.deferralStates() == "deferred" })
	return p, env
}

func (w *testEnv) deferralStates() string {
	return w.query(`SELECT string_agg(DISTINCT state, ',') FROM outbox_deferrals`)
}

func TestRowsOfAnUnstreamedTableStillArrive(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p, _ := w.deferred()
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_1.outbox`)
	p.awaitLog("event=tables_left")
	w.awaitOfTable("tenant_1.outbox", "1", 300)
	w.eventually("nothing waits", func() bool { return w.deferralStates() == "" })
}

// TestRowsOfAnUnstreamedTableWaitTheirTurn: the log has rows of the table that follow those which
// wait in it.
func TestRowsOfAnUnstreamedTableWaitTheirTurn(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p, env := w.deferredAt(60 * time.Millisecond) // so that most of them still wait
	p.stop()
	w.insertInto("tenant_1.outbox", "1", 301, 330)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE tenant_1.outbox`)
	p = w.startStreaming(env...)
	p.awaitLog("event=table_gone")
	w.awaitOfTable("tenant_1.outbox", "1", 330)
	w.eventually("nothing waits", func() bool { return w.deferralStates() == "" })
}

func TestRowsOfARenamedTableWait(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p, env := w.deferred()
	w.exec(`ALTER SCHEMA tenant_1 RENAME TO moved`)
	p.awaitLog("event=deferral_table_missing")
	w.insertInto("tenant_0.outbox", "1", 1, 3)
	w.awaitOfTable("tenant_0.outbox", "1", 3)
	if out, err := w.command(env, "status"); !strings.Contains(out, "tenant_1.outbox/order 1") {
		t.Errorf("status: %v: %s", err, out)
	}
	w.exec(`ALTER SCHEMA moved RENAME TO tenant_1`)
	w.awaitOfTable("tenant_1.outbox", "1", 300)
	w.eventually("nothing waits", func() bool { return w.deferralStates() == "" })
}

func TestRowsOfADroppedTableAreCounted(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p, _ := w.deferred()
	w.exec(`DROP TABLE tenant_1.outbox`)
	p.awaitLog("event=rows_removed")
	w.eventually("nothing waits", func() bool { return w.deferralStates() == "" })
}
