package delivery_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// blockA lets the group a have a dead letter, and two events that wait behind it.
func blockA(r *fixture) {
	r.t.Helper()
	r.delivery.DeferBehind(0, true)
	r.sinks[0].answers(failEntry("a2", errRefused))
	r.sendIDs(0, "a1 a2 b1 a3 a4")
	r.elapse(30 * time.Second)
	r.expectTaken(0, "a1 b1")
	r.expectParked("a2")
	r.expectOpen(2)
	if behind := r.delivery.Behind(0); len(behind) != 1 || behind[0].Group != "a" {
		r.t.Errorf("behind a dead letter are %v", behind)
	}
}

func TestEventsBehindADeadLetterWait(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		blockA(r)
		r.sendIDs(0, "b2")
		r.elapse(time.Second)
		r.expectTaken(0, "a1 b1 b2")
		release, err := r.delivery.HoldGroup(r.t.Context(), 0, "a")
		if err != nil {
			r.t.Fatal(err)
		}
		all := func(*delivery.Event) bool { return true }
		r.delivery.HandOver(r.delivery.WithdrawGroup(0, "a", all))
		release()
		r.expectOpen(0)
		r.expectParked("a2")
		if behind := r.delivery.Behind(0); len(behind) > 0 {
			r.t.Errorf("%v still wait", behind)
		}
	})
}

func TestEventsThatCannotWaitAreParked(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		blockA(r)
		r.delivery.ParkBehind(0, "a")
		r.elapse(time.Second)
		r.sendIDs(0, "a5")
		r.elapse(time.Second)
		r.expectParked("a2 a3 a4 a5")
		r.expectOpen(0)
	})
}

func TestWaitingEventsFollowTheDeadLetter(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		blockA(r)
		r.parker.mu.Lock()
		r.parker.free = true
		r.parker.mu.Unlock()
		r.elapse(time.Minute)
		r.expectTaken(0, "a1 a3 a4 b1")
		r.expectOpen(0)
		if behind := r.delivery.Behind(0); len(behind) > 0 {
			r.t.Errorf("%v still wait", behind)
		}
	})
}

// TestABlockedGroupIsNotBusy: its events wait for an operator, and not for requests.
func TestABlockedGroupIsNotBusy(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		blockA(r)
		r.sendIDs(0, "a5 a6 a7 a8 a9 a10 a11 a12 a13 a14")
		r.elapse(time.Second)
		none := func(string) bool { return false }
		if busy := r.delivery.Busy(0, none); len(busy) > 0 {
			r.t.Errorf("%v are busy", busy)
		}
	})
}

// TestAParkedEventThatComesAgainIsDone: the relay that parked it ended before it confirmed that.
func TestAParkedEventThatComesAgainIsDone(t *testing.T) {
	t.Parallel()
	blocked := func(_ *fixture, d []delivery.Destination) { d[0].Blocked = map[string]string{"a": "a1"} }
	run(t, one(fifo), func(r *fixture) {
		r.parker.again = "a1"
		r.delivery.DeferBehind(0, true)
		r.sendIDs(0, "a1 a2")
		r.elapse(time.Second)
		r.expectParked("")
		r.expectOpen(1)
		if behind := r.delivery.Behind(0); len(behind) != 1 {
			r.t.Errorf("behind a dead letter are %v", behind)
		}
	}, blocked)
}
