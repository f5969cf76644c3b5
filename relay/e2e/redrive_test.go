package e2e_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// checkSays checks that an output has all of these texts.
func (w *testEnv) checkSays(output string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			w.t.Errorf("it does not say %q:\n%s", text, output)
		}
	}
}

func TestRedriveReportsItsOutcome(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.parkTwo()
	output, err := w.command(nil, "dead-letters", "redrive", "--all")
	if exitCode(err) != 1 {
		t.Errorf("a redrive that is refused again ends with %v", err)
	}
	w.checkSays(output, "marked 2 of the parked events", "the redrive is done: 0 of 2 events delivered",
		"position 1, event ", "was refused again: InvalidMessageContents: ",
		"still parked: 1. They wait behind a refused event",
		"1 event was refused again")
	refused.Clear()
	output, err = w.command(nil, "dead-letters", "redrive", "1")
	w.must(err)
	w.checkSays(output, "the redrive is done: 1 of 1 events delivered")
	w.awaitBody(`{"n":2}`)
}

// TestRedriveReportsRefusalsOfTheRelay: it refuses a body with a control character before
// it sends it.
func TestRedriveReportsRefusalsOfTheRelay(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming(w.sharedID()...)
	w.exec(`INSERT INTO events (id, kind, body) VALUES ('A', 'k', E'\x01')`)
	w.eventually("it is parked", func() bool { return w.deadLetters() == "parked" })
	output, err := w.command(nil, "dead-letters", "redrive", "--all")
	if exitCode(err) != 1 {
		t.Errorf("a redrive that the relay refuses ends with %v", err)
	}
	w.checkSays(output, "0 of 1 events delivered", "event A, was refused again: ")
}

// TestRedriveContinuesWithoutItsCommand: the command shows the progress until the operator ends it.
func TestRedriveContinuesWithoutItsCommand(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	refused := w.refuseBody(`{"n":1}`)
	w.parkTwo()
	refused.Clear()
	away := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
	p := w.launch(relayBinary, nil, "dead-letters", "redrive", "--all")
	p.awaitLog("0 of 2 events delivered, 0 a second, 2 left")
	w.must(p.cmd.Process.Signal(syscall.SIGINT))
	if err := p.wait(); exitCode(err) != 1 {
		t.Errorf("it ended with %v", err)
	}
	w.checkSays(p.log.String(), "2 events are still on their way, and the relay continues", "--cancel")
	away.Clear()
	w.awaitBody(`{"n":2}`)
}

func TestRedriveSaysThatNoRelayRuns(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	relay := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.eventually("it is parked", func() bool { return w.deadLetters() == "parked" })
	relay.stop()
	output, err := w.command(nil, "dead-letters", "redrive", "1", "--no-wait")
	w.must(err)
	w.checkSays(output, "no relay runs")
}

// TestCausesComeBeforeTheirFollowers: three events wait behind one that was refused.
func TestCausesComeBeforeTheirFollowers(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	w.startStreaming(parksFollowers)
	w.commit(event(t, "1", `{"n":1}`), event(t, "1", `{"n":2}`), event(t, "1", `{"n":3}`), event(t, "1", `{"n":4}`))
	w.eventually("all are parked", func() bool { return w.deadLetters() == "parked,parked,parked,parked" })
	output, err := w.command(nil, "dead-letters", "list", "--limit", "2")
	w.must(err)
	w.checkSays(strings.Join(strings.Fields(output), " "), "InvalidMessageContents orders.fifo 1 3 ",
		"refused by the test", "waits behind 1", "2 of 4 dead letters")
	screen := w.awaitStatus(1, "4 events are parked: 1 InvalidMessageContents; 3 wait behind them")
	w.checkSays(screen, "behind them   3 at "+w.queue.ARN)
}

// TestDeadLettersAreThoseOfTheSlot: another relay of the same table has dead letters of its own.
func TestDeadLettersAreThoseOfTheSlot(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	w.commit(event(t, "1", `{"n":1}`))
	w.eventually("it is parked", func() bool { return w.deadLetters() == "parked" })
	const copied = `
		INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
			reason, attempts, event, slot_name)
		SELECT $1, $2, destination, 'order/9', blocks_group, code, reason, attempts, event, $3
		FROM outbox_dead_letters WHERE position = 1`
	w.exec(`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier)
		VALUES ('other_slot', 'public.outbox_events', 1, '1')`)
	w.exec(copied, "other-slot", "public.outbox_events", "other_slot")
	w.exec(copied, "other-table", "public.others", w.slot)
	w.exec(copied, "removed-slot", "public.outbox_events", "removed_slot")
	w.awaitStatus(1, "2 events are parked: 2 InvalidMessageContents")
	w.eventually("the metric counts the same", func() bool {
		_, body := w.get("http://" + listen + "/metrics")
		return strings.Contains(body, "relay_dead_letters 2\n")
	})
	output, err := w.command(nil, "dead-letters", "list")
	w.must(err)
	if w.checkSays(output, "removed-slot", "2 dead letters"); strings.Contains(output, "other-") {
		t.Errorf("it lists those of another relay:\n%s", output)
	}
	output, err = w.command(nil, "dead-letters", "discard", "--all")
	w.must(err)
	w.checkSays(output, "discarded 2")
	output, err = w.command([]string{"RELAY_SLOT=other_slot"}, "dead-letters", "list")
	w.must(err)
	w.checkSays(output, "other-slot", "1 dead letter\n")
}

func TestLongBodyIsShownShortened(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	long := `{"long":"` + strings.Repeat("ä", 2000) + `"}`
	w.refuseBody(long)
	w.startStreaming()
	w.commit(event(t, "1", long))
	w.eventually("it is parked", func() bool { return w.deadLetters() == "parked" })
	output, err := w.command(nil, "dead-letters", "show", "1")
	w.must(err)
	if w.checkSays(output, `"body_length": 4011`); len(output) > 3000 {
		t.Errorf("it shows %d bytes", len(output))
	}
	output, err = w.command(nil, "dead-letters", "show", "1", "--body")
	w.must(err)
	w.checkSays(output, strings.Repeat("ä", 2000))
}
