package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestAnUnloggedTableIsNamed: Postgres refuses SET UNLOGGED on a table that a publication names. It
// accepts that on a table of a publication of all tables or of a schema.
func TestAnUnloggedTableIsNamed(t *testing.T) {
	t.Parallel()
	for version, of := range map[int]string{oldest: "ALL TABLES", newest: "TABLES IN SCHEMA public"} {
		t.Run(fmt.Sprint("Postgres ", version), func(t *testing.T) {
			t.Parallel()
			checkUnloggedTable(t, version, of)
		})
	}
}

func checkUnloggedTable(t *testing.T, version int, of string) {
	const fix = `ALTER TABLE public.outbox_events SET LOGGED`
	w, _ := newRolesEnv(t, "orders", version)
	w.exec(`DROP PUBLICATION outbox_pub`)
	w.exec(`CREATE PUBLICATION outbox_pub FOR ` + of + ` WITH (publish = 'insert', publish_via_partition_root = true)`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)
	w.exec(`ALTER TABLE outbox_events SET UNLOGGED`)
	w.awaitStatus(2, fix)
	w.commit(event(t, "1", `{"n":2}`))
	p.stop()
	w.checkUnlogged(fix + ";")
	w.commit(event(t, "1", `{"n":3}`))

	w.exec(fix)
	w.startStreaming()
	w.awaitBody(`{"n":2}`)
	w.awaitBody(`{"n":3}`)
	w.awaitStatus(0, "ok  slot")
}

// checkUnlogged runs relay check and relay run, which refuse, and name this statement.
func (w *testEnv) checkUnlogged(fix string) {
	w.t.Helper()
	for _, command := range []string{"check", "run"} {
		output, err := w.command(nil, command)
		if err == nil || !strings.Contains(output, fix) || strings.Contains(output, "ADD TABLE") {
			w.t.Errorf("relay %s ends with %v and says %s", command, err, output)
		}
	}
}

// TestAnUnloggedTenantStopsNoOther: it no longer belongs to the tables of the pattern.
func TestAnUnloggedTenantStopsNoOther(t *testing.T) {
	t.Parallel()
	for name, isRunning := range map[string]bool{"while a relay runs": true, "while none runs": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkUnloggedTenant(t, isRunning)
		})
	}
}

// checkUnloggedTenant makes a tenant UNLOGGED, while a relay runs or not, and LOGGED again.
func checkUnloggedTenant(t *testing.T, isRunning bool) {
	const env, fix = "RELAY_TABLE=tenant_*.outbox", `ALTER TABLE tenant_1.outbox SET LOGGED`
	w := newTestEnv(t, "orders.fifo")
	w.schemas(2)
	w.asSuperuser(`DROP PUBLICATION outbox_pub`,
		`CREATE PUBLICATION outbox_pub FOR ALL TABLES WITH (publish = 'insert', publish_via_partition_root = true)`)
	p := w.startStreaming(env)
	w.insertInto("tenant_1.outbox", "1", 1, 1)
	w.awaitOfTable("tenant_1.outbox", "1", 1)
	if !isRunning {
		p.stop()
	}
	w.exec(`ALTER TABLE tenant_1.outbox SET UNLOGGED`)
	if isRunning {
		w.awaitStatus(1, fix, env)
		p.stop()
	}
	w.insertInto("tenant_1.outbox", "1", 2, 2)
	output, err := w.command([]string{env}, "check")
	if err != nil || !strings.Contains(output, "degraded  logged") || !strings.Contains(output, fix+";") ||
		strings.Contains(output, "ADD TABLE") {
		t.Errorf("relay check ends with %v and says %s", err, output)
	}
	p = w.startStreaming(env)
	w.awaitStatus(1, fix, env)
	w.insertInto("tenant_0.outbox", "1", 1, 1)
	w.awaitOfTable("tenant_0.outbox", "1", 1)
	p.awaitLog("event=table_unlogged")
	w.exec(fix)
	w.awaitOfTable("tenant_1.outbox", "1", 2)
	w.awaitStatus(0, "ok  slot", env)
}

// TestRowsOfAnUnloggedTableAreRecovered: no relay ran when the table became UNLOGGED.
func TestRowsOfAnUnloggedTableAreRecovered(t *testing.T) {
	t.Parallel()
	const fix = `ALTER TABLE public.outbox_events SET LOGGED`
	w := newTestEnv(t, "orders.fifo")
	w.asSuperuser(`DROP PUBLICATION outbox_pub`,
		`CREATE PUBLICATION outbox_pub FOR ALL TABLES WITH (publish = 'insert', publish_via_partition_root = true)`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)
	p.stop()
	w.exec(`ALTER TABLE outbox_events SET UNLOGGED`)
	w.commit(event(t, "1", `{"n":2}`))
	w.checkUnlogged(fix + ";")
	w.exec(fix)
	w.recover("--yes")
	w.startStreaming()
	w.awaitBody(`{"n":2}`)
}
