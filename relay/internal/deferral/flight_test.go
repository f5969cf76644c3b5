package deferral

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

func TestTheHeadOfAFlightHoldsUpSettledRows(t *testing.T) {
	t.Parallel()
	f := newFlight(0, 0)
	events := make([]delivery.Event, 4)
	for i := range events {
		f.add(int64(i+1), 1, &events[i])
	}
	for _, i := range []int{0, 2} {
		events[i].Settled()
	}
	if first, settled := f.head(); first != &events[1] || settled != 1 {
		t.Errorf("the head holds up %d rows, want 1", settled)
	}
	events[1].Settled()
	events[3].Settled()
	if first, settled := f.head(); first != nil || settled != 0 {
		t.Errorf("an empty flight has a head that holds up %d rows", settled)
	}
}

// TestALateCommitLeavesNoPass: the rows behind it were delivered before the pass, and a deferral
// that begins with it would repeat them.
func TestALateCommitLeavesNoPass(t *testing.T) {
	t.Parallel()
	f := newFlight(0, 99)
	if !f.mayRepeat(50) || !f.mayRepeat(99) || f.mayRepeat(100) {
		t.Error("the rows up to seq 99 were done before the pass")
	}
	if newFlight(0, endless).mayRepeat(50) {
		t.Error("a pass that does not know what was done before lets no aggregate leave")
	}
}
