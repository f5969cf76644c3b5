package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// cancel withdraws a recovery and returns the output of the command.
func (w *testEnv) cancel() (output string, err error) {
	w.t.Helper()
	return w.command(nil, "recover", "--cancel", "--yes")
}

// killAt starts a relay and kills it before the server receives a statement that contains this
// text.
func (w *testEnv) killAt(statement string, env ...string) {
	w.t.Helper()
	between, through := w.newNetwork()
	stop := between.HoldBack(statement)
	p := w.start(append(env, "DATABASE_URL="+through)...)
	w.await(stop)
	p.kill()
	between.Close()
}

// The slot has events whose rows were deleted, and the table has rows that were delivered.
func TestACanceledRecoveryChangesNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":0}`))
	w.awaitBody(`{"n":0}`)
	p.stop()
	for n := 1; n < 4; n++ {
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, n)))
	}
	w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '2'`)
	w.recover("--yes")
	w.killAt(steps["marked"])
	if output, err := w.cancel(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	p = w.startStreaming()
	w.commit(event(t, "1", `{"n":4}`))
	w.awaitEach(5)
	if got := w.bodies(); len(got) != 5 || got[`{"n":0}`] != 1 || got[`{"n":4}`] != 1 {
		t.Errorf("received %v", got)
	}
	if strings.Contains(p.log.String(), "event=recovering") {
		t.Error("the relay recovers")
	}
}

// The events of a gap are in the table alone. The relay remembers that after a second mark too.
func TestARecoveryOfAGapCannotBeCanceled(t *testing.T) {
	t.Parallel()
	for _, gap := range gaps {
		for name, again := range map[string]bool{"marked": false, "marked again": true} {
			// TestACanceledRecoveryChangesNothing covers this case.
			if gap.name == "by hand" && !again {
				continue
			}
			t.Run(gap.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newTestEnv(t, "orders.fifo")
				w.startStreaming().stop()
				w.commit(event(t, "1", `{"n":0}`))
				gap.do(w)
				w.commit(event(t, "1", `{"n":1}`))
				if again {
					w.killAt(steps["table to be read"])
					w.recover("--yes")
				} else {
					w.killAt(steps["marked"])
				}
				if output, err := w.cancel(); err == nil || !strings.Contains(output, "cannot be withdrawn") {
					t.Errorf("%v: %s", err, output)
				}
				w.startStreaming()
				w.awaitEach(2)
				for _, body := range gap.also {
					w.awaitBody(body)
				}
			})
		}
	}
}

// The slot and the rows existed before the first start of the relay.
func TestCanceledStartOnAnAdoptedSlotLosesNothing(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"begun": false, "marked again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.commit(event(t, "1", `{"n":0}`))
			w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
			w.commit(event(t, "1", `{"n":1}`))
			w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '1'`)
			w.killAt(steps["table to be read"], "RELAY_START=table")
			if again {
				w.recover("--yes")
			}
			if output, err := w.cancel(); err != nil || !strings.Contains(output, "RELAY_START says") {
				t.Fatalf("%v: %s", err, output)
			}
			w.startStreaming("RELAY_START=table")
			w.commit(event(t, "1", `{"n":2}`))
			w.awaitEach(3)
		})
	}
}

// RELAY_START=now excludes the rows that existed before, and the slot brings all others.
func TestCanceledStartPublishesNoOlderRows(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.commit(event(t, "1", `{"old":true}`))
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	w.commit(event(t, "1", `{"n":0}`))
	w.killAt("SET epoch = c.epoch + 1, updated_at", "RELAY_START=now")
	w.recover("--yes")
	if output, err := w.cancel(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.startStreaming("RELAY_START=now")
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitEach(2)
	if got := w.bodies(); got[`{"old":true}`] != 0 {
		t.Errorf("received %v", got)
	}
}

// TestItsRoleMayWithdrawAFirstStart: the relay's role may not delete a checkpoint. A withdrawn row
// is no row to any relay, and the epoch of the slot continues from it.
func TestItsRoleMayWithdrawAFirstStart(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, func(t *testing.T, version int) {
		w, _ := newRolesEnv(t, "orders.fifo", version)
		w.commit(event(t, "1", `{"old":true}`))
		for range 2 {
			w.killAt(steps["table to be read"], "RELAY_START=table")
			if output, err := w.cancel(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
		}
		p := w.startStreaming("RELAY_START=now", "RELAY_RETENTION=1s")
		w.commit(event(t, "1", `{"n":0}`))
		w.awaitEach(1)
		w.eventually("retention waits for no withdrawn start", func() bool { return w.rows() == "0" })
		p.stop()
		if got := w.bodies(); len(got) != 1 || got[`{"n":0}`] != 1 {
			t.Errorf("received %v", got)
		}
		const raised = `SELECT (epoch > (SELECT max(epoch) FROM relay_checkpoints WHERE slot_name <> $1))::text
			FROM relay_checkpoints WHERE slot_name = $1`
		if w.query(raised, w.slot) != "true" {
			t.Errorf("the checkpoints are %s", w.query(`SELECT string_agg(c::text, E'\n') FROM relay_checkpoints c`))
		}
	})
}
