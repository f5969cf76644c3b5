package e2e_test

import (
	"slices"
	"testing"
)

// TestALetterHoldsNothingAtAnotherDestination: the settings no longer name the destination that
// refused the event. The events behind it flow to the one that they name, and a redrive is refused
// at once. Then the settings name the destination again, or a replay sends the row to the new one.
func TestALetterHoldsNothingAtAnotherDestination(t *testing.T) {
	t.Parallel()
	for name, isRestored := range map[string]bool{"restored": true, "replayed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBehind(t, newTestEnv(t, "orders.fifo"))
			moved, err := b.broker.CreateQueue("moved.fifo", nil)
			b.must(err)
			refused := b.refuseNumber(1011)
			p := b.startStreaming(b.env...)
			b.burst(1001, 1010)
			b.awaitAll(10)
			b.burst(1011, 1030)
			b.awaitBehind()
			b.awaitWaiting(19)
			p.stop()

			env := slices.Concat(b.env, []string{"RELAY_DESTINATION=" + moved.URL})
			p = b.startStreaming(env...)
			b.burst(1031, 1040)
			b.other = moved
			b.awaitAll(29)
			b.awaitState("")
			b.checkRedriveIsRefused(p)
			refused.Clear()
			b.sendRefused(p, isRestored, env)
		})
	}
}

// checkRedriveIsRefused checks that a redrive ends, and says what to do.
func (b busy) checkRedriveIsRefused(p *process) {
	b.t.Helper()
	for range 2 {
		out, err := b.command(nil, "dead-letters", "redrive", "--all")
		if exitCode(err) != 1 {
			b.t.Errorf("a redrive to a destination that no setting names ends with %v", err)
		}
		b.checkSays(out, "0 of 1 events delivered", "was refused again: DestinationRemoved: no setting names "+
			b.queue.ARN, "relay replay", "Before, InvalidMessageContents: ")
	}
	if letters := b.deadLetters(); letters != "parked" {
		b.t.Errorf("dead letters: %s", letters)
	}
}

// sendRefused has the refused event delivered in one of the ways that the refusal of its redrive
// names.
func (b busy) sendRefused(p *process, isRestored bool, env []string) {
	b.t.Helper()
	if isRestored {
		p.stop()
		b.startStreaming(b.env...)
		b.decide("redrive")
		b.other = b.queue
		b.awaitAll(11)
		return
	}
	b.decide("discard")
	id := b.query(`SELECT event_id FROM outbox_dead_letters`)
	b.awaitHorizon()
	out, err := b.command(env, "replay", "--event-id", id, "--yes")
	if err != nil {
		b.t.Fatalf("replay: %v: %s", err, out)
	}
	b.eventually("the event is at the new destination", func() bool { return b.arrived()[1011] })
}
