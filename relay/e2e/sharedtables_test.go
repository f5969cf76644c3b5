package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// Each slot numbers its tables by itself, so no two can compare which rows wait.
func TestSlotOfSeveralTablesSharesNone(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	w.exec(`CREATE PUBLICATION other_pub FOR TABLE tenant_0.outbox, tenant_1.outbox, public.outbox_events
		WITH (publish = 'insert')`)
	w.startStreaming(env).stop()
	other := func(tables string) []string {
		return []string{"RELAY_SLOT=" + w.slot + "_other", "RELAY_PUBLICATION=other_pub", "RELAY_TABLE=" + tables}
	}
	for _, tables := range []string{"tenant_1.outbox", "tenant_1.outbox,public.outbox_events", "tenant_*.outbox"} {
		for _, command := range []string{"check", "run"} {
			output, err := w.command(other(tables), command)
			if err == nil || !strings.Contains(output, "slot "+w.slot+" relays table tenant_") ||
				!strings.Contains(output, "DELETE FROM relay_checkpoints WHERE slot_name = '"+w.slot+"'") {
				t.Errorf("relay %s with %s: %v: %s", command, tables, err, output)
			}
		}
	}
	w.exec(`DELETE FROM relay_checkpoints WHERE slot_name = $1`, w.slot)
	w.startStreaming(other("tenant_1.outbox")...).stop()
	output, err := w.command([]string{env, "RELAY_SLOT=" + w.slot + "_third"}, "check")
	if err == nil || !strings.Contains(output, "slot "+w.slot+"_other relays table tenant_1.outbox") {
		t.Errorf("check beside the slot of one of the tables: %v: %s", err, output)
	}
}

// A table of another slot that comes while the relay runs ends it: it must skip no event.
func TestTableOfAnotherSlotIsNotJoined(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(1)
	w.createTable("tenant_other", "outbox")
	w.exec(`CREATE PUBLICATION other_pub FOR TABLE tenant_other.outbox WITH (publish = 'insert')`)
	w.startStreaming("RELAY_SLOT="+w.slot+"_other", "RELAY_PUBLICATION=other_pub", "RELAY_TABLE=tenant_other.outbox")
	p := w.startStreaming(env)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_other.outbox`)
	p.awaitLog(fmt.Sprintf("slot %s_other relays table tenant_other.outbox too", w.slot))
}

// The row of the slot itself, and that of a slot with other tables, refuse no change of the list.
func TestListOfTablesIsExtendedBesideAnotherSlot(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.schemas(3)
	w.addTable("billing", "outbox")
	other := []string{
		"RELAY_SLOT=" + w.slot + "_other", "RELAY_TABLE=public.outbox_events,billing.outbox",
	}
	w.startStreaming(other...).stop()
	w.startStreaming("RELAY_TABLE=tenant_1.outbox,tenant_0.outbox").stop()
	row := func() string {
		return w.query(`SELECT outbox_table FROM relay_checkpoints WHERE slot_name = $1`, w.slot)
	}
	before := row()
	w.startStreaming("RELAY_TABLE=tenant_0.outbox,tenant_1.outbox").stop()
	if after := row(); after != before {
		t.Errorf("another order of the list changes the name of the tables from %s to %s", before, after)
	}
	w.startStreaming("RELAY_TABLE=tenant_2.outbox,tenant_0.outbox,tenant_1.outbox")
	w.insertInto("tenant_2.outbox", "1", 1, 2)
	w.awaitOfTable("tenant_2.outbox", "1", 2)
}

// An earlier relay knows slots of one table alone, and has a slot of its own for one of the tables.
func TestAnEarlierRelayKeepsRowsOfSeveral(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.addTable("billing", "outbox")
	w.startStreaming("RELAY_TABLE=public.outbox_events,billing.outbox")
	w.slot += "_earlier"
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	pid := w.holdSlot().PID()
	w.insertInto("outbox_events", "1", 1, 3)
	w.exec(`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier, horizon)
		SELECT $1, 'public.outbox_events', 1, system_identifier::text, pg_current_snapshot() FROM pg_control_system()`,
		w.slot)
	var removed int
	w.must(w.pool.QueryRow(t.Context(), olderStatements(t)["remove rows"],
		w.slot, 1, pid, "public.outbox_events", "0 seconds", int64(0), 1000).Scan(&removed, nil, nil, nil))
	if removed != 0 {
		t.Errorf("the earlier relay removes %d rows", removed)
	}
}
