package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// cancel withdraws a recovery and returns what the command says.
func (w *world) cancel() (output string, err error) {
	w.t.Helper()
	return w.command(nil, "recover", "--cancel", "--yes")
}

// holdUp starts a relay, and kills it before it sends a statement with this text.
func (w *world) holdUp(statement string, env ...string) {
	w.t.Helper()
	between, through := w.newNetwork()
	stop := between.HoldBack(statement)
	p := w.start(append(env, "DATABASE_URL="+through)...)
	w.await(stop)
	p.kill()
	between.Close()
}

// TestACanceledRecoveryChangesNothing: the slot has rows that were deleted, and the table has rows
// that were delivered.
func TestACanceledRecoveryChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":0}`))
	w.awaitBody(`{"n":0}`)
	p.stop()
	for n := 1; n < 4; n++ {
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, n)))
	}
	w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '2'`)
	w.recover("--yes")
	w.holdUp(steps["marked"])
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

// TestARecoveryOfAGapCannotBeCanceled: what the slot does not bring is in the table alone. A
// recovery that is marked again has forgotten neither.
func TestARecoveryOfAGapCannotBeCanceled(t *testing.T) {
	t.Parallel()
	for _, gap := range gaps {
		for name, again := range map[string]bool{"marked": false, "marked again": true} {
			if gap.name == "by hand" && !again { // see TestACanceledRecoveryChangesNothing
				continue
			}
			t.Run(gap.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "orders.fifo")
				w.startStreaming().stop()
				w.commit(event(t, "1", `{"n":0}`))
				gap.do(w)
				w.commit(event(t, "1", `{"n":1}`))
				if again {
					w.holdUp(steps["table to be read"])
					w.recover("--yes")
				} else {
					w.holdUp(steps["marked"])
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

// TestACanceledStartOnASlotOfOthersLosesNothing: the slot was there before the relay, and so were
// rows.
func TestACanceledStartOnASlotOfOthersLosesNothing(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"begun": false, "marked again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "orders.fifo")
			w.commit(event(t, "1", `{"n":0}`))
			w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
			w.commit(event(t, "1", `{"n":1}`))
			w.exec(`DELETE FROM outbox_events WHERE payload->>'n' = '1'`)
			w.holdUp(steps["table to be read"], "RELAY_START=table")
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

// TestACanceledStartInventsNothing: rows that were there stay out with RELAY_START=now, and the
// slot brings the others.
func TestACanceledStartInventsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.commit(event(t, "1", `{"old":true}`))
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	w.commit(event(t, "1", `{"n":0}`))
	w.holdUp("SET epoch = c.epoch + 1, updated_at", "RELAY_START=now")
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
