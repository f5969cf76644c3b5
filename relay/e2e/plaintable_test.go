package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// plainColumns maps a table that has an id and a payload, and nothing else.
var plainColumns = []string{
	"RELAY_TABLE=plain", "RELAY_COLUMN_SEQUENCE=", "RELAY_COLUMN_XID=", "RELAY_COLUMN_AGGREGATE_TYPE=",
	"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_EVENT_TYPE=", "RELAY_COLUMN_HEADERS=", "RELAY_COLUMN_CREATED_AT=",
}

// newPlainTable returns an environment with such a table.
func newPlainTable(t *testing.T, queue string) *testEnv {
	t.Helper()
	w := newTestEnv(t, queue)
	w.exec(`CREATE TABLE plain (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), payload text)`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE plain`)
	return w
}

const insertPlain = `INSERT INTO plain (payload) VALUES ($1)`

func TestAnIDAndAPayloadAreEnough(t *testing.T) {
	t.Parallel()
	w := newPlainTable(t, "orders")
	env := append(slices.Clone(plainColumns), "RELAY_START=now")
	output, err := w.command(env, "check")
	if err != nil || !strings.Contains(output, "degraded  guarantees") ||
		!strings.Contains(output, "no column that numbers its rows (RELAY_COLUMN_SEQUENCE)") {
		t.Errorf("%v: %s", err, output)
	}
	p := w.startStreaming(env...)
	w.exec(insertPlain, "first")
	w.awaitBody("first")
	p.awaitLog("finding=guarantees")
	p.awaitLog("event=first_start")
	if strings.Contains(p.log.String(), "loss_accepted") {
		t.Error("an operator accepted no loss")
	}
	w.eventually("relay status names what is missing", func() bool {
		output, _ := w.command(nil, "status")
		return strings.Contains(output, "missing") && strings.Contains(output, "repair, first start, audit")
	})
	p.kill()
	w.exec(insertPlain, "while no relay ran")
	w.startStreaming(env...)
	w.awaitBody("while no relay ran")
}

func TestAFirstStartOfAPlainTableNeedsAWord(t *testing.T) {
	t.Parallel()
	w := newPlainTable(t, "orders")
	w.exec(insertPlain, "old")
	for _, start := range []string{"", "table"} {
		output, err := w.command(append(slices.Clone(plainColumns), "RELAY_START="+start), "run")
		if err == nil || !strings.Contains(output, "RELAY_START=now") {
			t.Errorf("RELAY_START=%s: %v: %s", start, err, output)
		}
	}
	if w.row() != "" {
		t.Error("the relay wrote a checkpoint")
	}
}

// TestALostSlotOfAPlainTableHalts: nothing shows which events were lost, so only a command
// continues.
func TestALostSlotOfAPlainTableHalts(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testEnv){
		"dropped": (*testEnv).dropSlot,
		"advanced": func(w *testEnv) {
			w.advanceSlot()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPlainTable(t, "orders")
			env := append(slices.Clone(plainColumns), "RELAY_START=now")
			p := w.startStreaming(env...)
			w.exec(insertPlain, "before")
			w.awaitBody("before")
			p.stop()
			w.exec(insertPlain, "lost")
			lose(w)
			output, err := w.command(env, "run")
			if err == nil || !strings.Contains(output, "relay recover --accept-loss") {
				t.Fatalf("%v: %s", err, output)
			}
			before := w.row()
			for _, args := range [][]string{{"recover", "--yes"}, {"recover", "--accept-loss"}} {
				output, err = w.command(env, args...)
				if !strings.Contains(output, "not delivered") || (err == nil) != (args[1] == "--accept-loss") {
					t.Errorf("%v: %v: %s", args, err, output)
				}
			}
			if w.row() != before {
				t.Error("the checkpoint row was changed without the operator's word")
			}
			if output, err = w.command(env, "recover", "--accept-loss", "--yes"); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			p = w.startStreaming(env...)
			p.awaitLog("event=loss_accepted")
			w.exec(insertPlain, "after")
			w.awaitBody("after")
			if got := w.bodies(); got["lost"] != 0 || got["before"] != 1 {
				t.Errorf("received %v", got)
			}
		})
	}
}

// TestAMarkedRecoveryNeedsItsColumns: a setting that is lost must not lose the recovery.
func TestAMarkedRecoveryNeedsItsColumns(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	p.stop()
	w.dropSlot()
	w.commit(event(t, "1", `{"n":2}`))
	w.recover("--yes")
	output, err := w.command([]string{"RELAY_COLUMN_XID="}, "run")
	if err == nil || !strings.Contains(output, "has a recovery that publishes rows of the table") {
		t.Errorf("%v: %s", err, output)
	}
	if output, err = w.command(nil, "recover", "--accept-loss", "--yes"); err == nil ||
		!strings.Contains(output, "none need be lost") {
		t.Errorf("%v: %s", err, output)
	}
	w.startStreaming()
	w.awaitBody(`{"n":2}`)
}

func TestCommandsThatReadTheTableRefuse(t *testing.T) {
	t.Parallel()
	w := newPlainTable(t, "orders")
	for _, args := range [][]string{{"replay", "--event-id=x"}, {"check", "--retention=1h"}} {
		output, err := w.command(plainColumns, args...)
		if err == nil || !strings.Contains(output, "RELAY_COLUMN_SEQUENCE and RELAY_COLUMN_XID") {
			t.Errorf("relay %v: %v: %s", args, err, output)
		}
	}
}

// TestTheOrderKeyMayBeSeveralColumns: the events come from the log and from the table.
func TestTheOrderKeyMayBeSeveralColumns(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.exec(`ALTER TABLE outbox_events ADD COLUMN region text, ADD COLUMN shop integer`)
	const insert = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, region, shop)
		VALUES (gen_random_uuid(), 'order', 'o-1', 'made', to_json($1::text), 'eu/1', 7)`
	env := []string{"RELAY_ORDER_KEY=region,shop", "RELAY_COLUMN_EVENT_TYPE='order.made'", "RELAY_START=table"}
	w.exec(insert, "table")
	w.startStreaming(env...)
	w.exec(insert, "log")
	w.awaitReceived(2)
	for _, m := range w.broker.Received(w.queue.ARN) {
		if m.GroupID != "key:eu%2F1,7" || attribute(m.Attributes, "event_type") != "order.made" ||
			attribute(m.Attributes, "aggregate_id") != "o-1" {
			t.Errorf("received %+v", m)
		}
	}
}
