package e2e_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// The tables that the slot had in the former cluster are not new. A table that it never had is.
func TestHorizonOfSeveralTablesHoldsAfterPgUpgrade(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := w.schemas(2)
	p := w.startStreaming(env)
	tables := []string{"tenant_0.outbox", "tenant_1.outbox"}
	for _, table := range tables {
		w.insertInto(table, "1", 1, 2)
		w.awaitOfTable(table, "1", 2)
		w.awaitDeliveredOf(table, "xid")
	}
	p.stop()
	w.dropSlot()
	w.fromAnotherCluster()
	w.exec(`UPDATE relay_members SET system_identifier = '1', attached = 'p1:1' WHERE slot_name = $1`, w.slot)
	for _, table := range tables {
		w.insertInto(table, "1", 3, 3)
	}
	w.addTable("tenant_new", "outbox")
	w.insertInto("tenant_new.outbox", "1", 1, 2)
	if output, err := w.command([]string{env}, "recover", "--trust-horizon", "--yes"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.startStreaming(env)
	w.eventually("every table is accounted for", func() bool {
		return w.query(`SELECT count(*)::text FROM relay_members WHERE slot_name = $1 AND accounted
			AND system_identifier <> '1'`, w.slot) == "3"
	})
	for _, table := range append(tables, "tenant_new.outbox") {
		first := 4
		if table == "tenant_new.outbox" {
			first = 3
		}
		w.insertInto(table, "1", first, first)
		w.awaitOfTable(table, "1", first)
	}
	for _, table := range tables {
		if n := w.countOfTable(table); n != 4 {
			t.Errorf("%d messages of table %s, want 4: delivered events were published again", n, table)
		}
	}
}

// countOfTable counts the messages of a table, with those that a FIFO queue drops.
func (w *testEnv) countOfTable(table string) (n int) {
	for _, r := range w.broker.Received(w.queue.ARN) {
		if attribute(r.Attributes, outbox.AttributeTable) == table {
			n++
		}
	}
	return n
}
