package e2e_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// TestAGapRepeatsNothingBehindADeadLetter: the slot is lost once the followers of a dead letter are
// delivered, or while they wait, and the horizon covers them.
func TestAGapRepeatsNothingBehindADeadLetter(t *testing.T) {
	t.Parallel()
	t.Run("FIFO/delivered", func(t *testing.T) {
		t.Parallel()
		b, refused := behindALetter(t, "orders.fifo")
		b.awaitBehind()
		refused.Clear()
		b.decide("redrive")
		b.awaitAll(50)
		b.awaitState("")
		b.loseSlot()
		b.expectNoRepeat(70)
	})
	t.Run("FIFO/waiting", func(t *testing.T) {
		t.Parallel()
		b, refused := behindALetter(t, "orders.fifo")
		b.awaitBehind()
		b.loseSlot()
		b.eventually("the others have arrived", func() bool { _, others := b.arrivedOf(); return others == 20 })
		refused.Clear()
		b.decide("redrive")
		b.expectNoRepeat(70)
	})
	t.Run("standard", func(t *testing.T) {
		t.Parallel()
		b, _ := behindALetter(t, "orders")
		b.eventually("one event is a dead letter", func() bool { return b.deadLetters() == "parked" })
		b.awaitAll(49)
		b.loseSlot()
		b.expectNoRepeat(69)
	})
}

// behindALetter starts a relay and writes 50 events of an aggregate, of which one is refused.
func behindALetter(t *testing.T, queue string) (b behindGap, refused *fakeaws.Rule) {
	t.Helper()
	b = behindGap{busy: newBehind(t, newTestEnv(t, queue))}
	refused = b.refuseNumber(1010)
	b.relay = b.startStreaming(b.env...)
	b.burst(1001, 1050)
	return b, refused
}

type behindGap struct {
	busy
	relay *process
}

// loseSlot drops the slot once the horizon covers everything, and writes events of others.
func (b behindGap) loseSlot() {
	b.t.Helper()
	b.awaitHorizon()
	b.relay.kill()
	b.dropSlot()
	b.write(1, 20)
	b.startStreaming(b.env...)
}

func (b behindGap) expectNoRepeat(events int) {
	b.t.Helper()
	if repeated := b.awaitAll(events); repeated > 0 {
		b.t.Errorf("%d events came twice", repeated)
	}
	if letters := b.query(`SELECT count(*)::text FROM outbox_dead_letters`); letters != "1" {
		b.t.Errorf("%s dead letters, want 1", letters)
	}
}
