package delivery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// requestsOf returns how many requests a destination has had.
func (r *fixture) requestsOf(destination int) int {
	s := r.sinks[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func TestAPausedDestinationIsNeitherSentNorParked(t *testing.T) {
	t.Parallel()
	parkAfter := func(r *fixture, _ []delivery.Destination) { r.options.ParkAfter = 10 * time.Second }
	run(t, []sink.Limits{fifo, fifo}, func(r *fixture) {
		r.sinks[0].answers(failAll(errUnavailable))
		r.sendIDs(0, "a1 b1")
		r.elapse(5 * time.Second)
		r.delivery.Pause(0, true)
		before, reads := r.requestsOf(0), r.sinks[0].reads
		r.sendIDs(0, "a2 c1")
		r.sendIDs(1, "d1")
		r.elapse(time.Hour)
		r.expectTaken(1, "d1")
		r.expectParked("")
		if n := r.requestsOf(0) - before; n > 0 || r.sinks[0].reads > reads {
			t.Errorf("%d requests, and the limits were read %d times", n, r.sinks[0].reads-reads)
		}
		r.sinks[0].answers(takeAll)
		r.delivery.Pause(0, false)
		r.elapse(time.Second)
		r.expectTaken(0, "a1 a2 b1 c1")
		r.expectParked("")
	}, parkAfter)
}

// TestAPauseDoesNotCountTowardsAnOutage: what follows it has the whole of ParkAfter.
func TestAPauseDoesNotCountTowardsAnOutage(t *testing.T) {
	t.Parallel()
	parkAfter := func(r *fixture, _ []delivery.Destination) { r.options.ParkAfter = 10 * time.Second }
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failAll(errUnavailable))
		r.sendIDs(0, "a1")
		r.elapse(5 * time.Second)
		r.delivery.Pause(0, true)
		r.elapse(time.Hour)
		r.delivery.Pause(0, false)
		r.elapse(9 * time.Second)
		r.expectParked("")
		r.elapse(time.Minute) // the group has a backoff of its own
		r.expectParked("a1")
		if !strings.Contains(r.log.String(), "event=resumed") {
			t.Error("the log does not tell of the end of the pause")
		}
	}, parkAfter)
}

// TestADestinationMayBePausedFromTheStart, before anything is sent.
func TestADestinationMayBePausedFromTheStart(t *testing.T) {
	t.Parallel()
	paused := func(_ *fixture, destinations []delivery.Destination) { destinations[0].Paused = true }
	run(t, one(fifo), func(r *fixture) {
		r.sendIDs(0, "a1")
		r.elapse(time.Hour)
		r.expectRequests(0)
		r.delivery.Pause(0, false)
		r.elapse(time.Second)
		r.expectTaken(0, "a1")
	}, paused)
}
