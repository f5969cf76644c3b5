package delivery_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestAFailedOpeningIsAnUnavailableDestination: the other destination delivers meanwhile. Once the
// sink is open, its own limits apply to batches.
func TestAFailedOpeningIsAnUnavailableDestination(t *testing.T) {
	t.Parallel()
	small := sink.Limits{FIFO: true, MaxMessageBytes: 1000, MaxBatchBytes: 25}
	var attempts atomic.Int32
	var isThere atomic.Bool
	lazily := func(_ *fixture, destinations []delivery.Destination) {
		inner := destinations[1].Sink
		destinations[1].Sink = sink.NewLazy(fifo, func(context.Context) (sink.Sink, error) {
			time.Sleep(time.Second)
			if attempts.Add(1); !isThere.Load() {
				return nil, sink.RequestError(400, "NonExistentQueue", "no queue", nil)
			}
			return inner, nil
		})
	}
	run(t, []sink.Limits{fifo, small}, func(r *fixture) {
		r.sendIDs(1, "a1 b1 a2 c1")
		r.sendIDs(0, "d1")
		r.elapse(500 * time.Millisecond) // the opening takes longer
		r.expectTaken(0, "d1")
		r.elapse(30 * time.Second)
		if r.expectTaken(1, ""); attempts.Load() < 2 || attempts.Load() > 30 {
			t.Errorf("%d attempts to open the sink", attempts.Load())
		}
		r.expectOpen(5)
		isThere.Store(true)
		r.elapse(30 * time.Second)
		r.expectTaken(1, "a1 a2 b1 c1")
		r.sendIDs(1, "e1 f1 g1 h1")
		r.elapse(time.Second)
		for _, ids := range r.sinks[1].requests[1:] {
			if len(ids) > len("e1 f1") {
				t.Errorf("a request of %q exceeds the limits of the destination", ids)
			}
		}
		r.expectOpen(0)
	}, lazily, together)
}

// TestNothingIsPublishedAfterALongOpening: the lease ends while the sink is opened.
func TestNothingIsPublishedAfterALongOpening(t *testing.T) {
	t.Parallel()
	lazily := func(_ *fixture, destinations []delivery.Destination) {
		inner := destinations[0].Sink
		destinations[0].Sink = sink.NewLazy(fifo, func(context.Context) (sink.Sink, error) {
			time.Sleep(10 * time.Second)
			return inner, nil
		})
	}
	run(t, one(fifo), func(r *fixture) {
		r.sendIDs(0, "a1 b1")
		r.elapse(5 * time.Second)
		r.lease.set(errLease)
		r.elapse(10 * time.Second)
		r.expectEnd(errLease)
		r.expectRequests(0)
		r.expectOpen(2)
	}, lazily)
}
