package delivery_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

func TestAHeldDestinationGetsNoRequest(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sendIDs(0, "a1 b1")
		release, err := r.delivery.Hold(r.t.Context(), 0)
		if err != nil {
			r.t.Fatal(err)
		}
		r.expectTaken(0, "a1 b1") // those that were in flight have ended
		r.sendIDs(0, "a2")
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 b1")
		release()
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 a2 b1")
	})
}

func TestWithdrawnEventsAreHandedOver(t *testing.T) {
	t.Parallel()
	parkAfter := func(r *fixture, _ []delivery.Destination) { r.options.ParkAfter = 10 * time.Second }
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failAll(errUnavailable))
		r.delivery.Defer(0, true)
		r.sendIDs(0, "a1 a2 b1 b2 c1")
		r.elapse(time.Minute)
		r.expectParked("")
		if _, overdue := r.delivery.Overdue(0); !overdue {
			r.t.Fatal("the destination is not overdue")
		}
		release, err := r.delivery.Hold(r.t.Context(), 0)
		if err != nil {
			r.t.Fatal(err)
		}
		r.delivery.HandOver(r.delivery.Withdraw(0, func(e *delivery.Event) bool { return e.Message.EventID != "b2" }))
		r.expectOpen(2) // b2, and c1 behind it
		if !r.delivery.HasUncovered(0) {
			t.Error("b2 does not count")
		}
		r.delivery.ParkUncovered(0, time.Now())
		r.expectParked("b2")
		r.expectOpen(0)
		release()
	}, parkAfter)
}
