package delivery_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// TestDroppedEventsAreDoneAtOnce: those that the Tracker knows, and those of a pass through the
// table.
func TestDroppedEventsAreDoneAtOnce(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		settled := 0
		fromTable := event("a2")
		fromTable.Settled = func() { settled++ }
		r.sendIDs(route.Dropped, "a1")
		r.delivery.Send(route.Dropped, []*delivery.Event{fromTable}...)
		r.sendIDs(0, "a3")
		r.expectRequests(0, "a3")
		r.expectOpen(0)
		if settled != 1 || r.tally.count["dropped"] != 2 || r.tally.count["delivered A"] != 1 {
			t.Errorf("settled %d, observed %v", settled, r.tally.count)
		}
	})
}
