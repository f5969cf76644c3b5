package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// enableRowSecurity hides the rows of a table from every role except the producers, which a policy
// allows to write.
func (w *testEnv) enableRowSecurity(table string) {
	w.t.Helper()
	w.exec(`ALTER TABLE ` + table + ` ENABLE ROW LEVEL SECURITY`)
	w.exec(`CREATE POLICY producers ON ` + table + ` TO outbox_producer USING (true) WITH CHECK (true)`)
}

// checkRefusal runs a command that has to fail with an output that contains all texts.
func (w *testEnv) checkRefusal(env []string, command string, texts ...string) {
	w.t.Helper()
	output, err := w.command(env, command)
	for _, text := range texts {
		if err == nil || !strings.Contains(output, text) {
			w.t.Errorf("relay %s ends with %v and does not say %q: %s", command, err, text, output)
		}
	}
}

func TestAPolicyCannotHideAnEvent(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, checkPolicyHidesNothing)
}

func checkPolicyHidesNothing(t *testing.T, version int) {
	w, _ := newRolesEnv(t, "orders.fifo", version)
	p := w.startStreaming()
	w.exec(insertOld, `{"n":0}`)
	w.awaitBody(`{"n":0}`)
	p.stop()
	w.enableRowSecurity("outbox_events")
	for n := 1; n <= 5; n++ {
		w.exec(insertOld, fmt.Sprintf(`{"n":%d}`, n))
	}
	w.dropSlot() // only the table has the events
	const fix = `ALTER ROLE outbox_relay BYPASSRLS`
	w.checkRefusal(nil, "check", fix+";", "row-security", "public.outbox_events")
	w.checkRefusal(nil, "run", fix)
	w.checkRefusal(nil, "recover", "row-level security", "relay check names the statement")
	w.checkRefusal([]string{"RELAY_SLOT=other_" + w.slot, "RELAY_START=table"}, "run", fix)
	// a policy may change at any time
	w.exec(`CREATE POLICY everyone ON outbox_events USING (true)`)
	w.checkRefusal(nil, "check", fix)

	w.exec(fix)
	w.startStreaming()
	w.awaitAll(6)
}

// The stream reads no row of the table, so only a regular check notices the change.
func TestRowSecurityStopsARunningRelay(t *testing.T) {
	t.Parallel()
	w, server := newRolesEnv(t, "orders.fifo", 0)
	owner := asRole(t, server, pgtest.Superuser)
	for _, table := range []string{
		"outbox_events", "relay_checkpoints", "outbox_dead_letters", "outbox_replays",
		"relay_members",
	} {
		p := w.startStreaming()
		w.exec(insertOld, `{"before":"`+table+`"}`)
		w.awaitBody(`{"before":"` + table + `"}`)
		w.enableRowSecurity(table)
		if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "table public."+table) {
			t.Fatalf("with row security on %s the relay ends with %v", table, err)
		}
		if !strings.Contains(p.log.String(), "ALTER ROLE outbox_relay BYPASSRLS") {
			t.Errorf("the relay does not say what fixes row security on %s", table)
		}
		w.checkRefusal(nil, "check", "table public."+table)
		_, err := owner.Exec(t.Context(), `ALTER TABLE `+table+` DISABLE ROW LEVEL SECURITY`)
		w.must(err)
	}
}

// A policy is created between two pages of a recovery.
func TestRecoveryUnderRowSecurityPublishesAll(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders", 0)
	const rows = 1000
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', i::text, 'order.created', json_build_object('n', i)
		FROM generate_series(1, $1::int) AS i`, rows)
	held := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		return number0(t, m.Body) > rows/2 // the recovery cannot end before
	}}, fakeaws.FailEntries("InternalError", "held by the test", false))
	p := w.start("RELAY_START=table", "RELAY_WINDOW_EVENTS=10")
	w.eventually("the first rows arrive", func() bool { return len(w.bodies()) > 0 })
	w.enableRowSecurity("outbox_events")
	held.Clear()
	if err := p.wait(); err == nil || strings.Contains(p.log.String(), "event=recovered") {
		t.Fatalf("the relay ends with %v after %d of %d events", err, len(w.bodies()), rows)
	}
	w.exec(`ALTER ROLE outbox_relay BYPASSRLS`)
	w.startStreaming()
	w.awaitAll(rows)
}

// BYPASSRLS would help too, but the owner itself can revert FORCE ROW LEVEL SECURITY.
func TestForcedRowSecurityIsReportedToTheOwner(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders", 0)
	w.exec(`ALTER TABLE outbox_events OWNER TO ` + migrations.Relay)
	w.enableRowSecurity("outbox_events")
	if output, err := w.command(nil, "check"); err != nil {
		t.Errorf("the owner is refused: %v: %s", err, output)
	}
	w.exec(`ALTER TABLE outbox_events FORCE ROW LEVEL SECURITY`)
	w.checkRefusal(nil, "check", "ALTER TABLE public.outbox_events NO FORCE ROW LEVEL SECURITY;")
}

// The relay reads an inheriting table by its own name when the table joins.
func TestPolicyOfAnInheritingTableIsFound(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders", 0)
	w.exec(`CREATE TABLE child () INHERITS (outbox_events); CREATE TABLE grandchild () INHERITS (child)`)
	w.enableRowSecurity("grandchild")
	w.checkRefusal(nil, "check", "public.grandchild", "ALTER ROLE outbox_relay BYPASSRLS;")
	w.checkRefusal(nil, "run", "public.grandchild")
}
