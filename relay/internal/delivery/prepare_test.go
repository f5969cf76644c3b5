package delivery_test

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// storing is a destination that takes large messages. Its bucket fails that of one event.
type storing struct {
	*memorySink
	failed *atomic.Value // id of the event
}

func (s storing) Limits() sink.Limits {
	limits := s.memorySink.Limits()
	limits.MaxMessageBytes = math.MaxInt32
	return limits
}

func (s storing) Room(*sink.Message) int { return s.memorySink.Limits().MaxMessageBytes }

func (s storing) Prepare(_ context.Context, batch []*sink.Message) ([]*sink.Message, []error) {
	failed, anyFailed := make([]error, len(batch)), false
	for i, m := range batch {
		if m.EventID == s.failed.Load() {
			failed[i], anyFailed = errUnavailable, true
		}
	}
	if !anyFailed {
		return batch, nil
	}
	return batch, failed
}

// failing makes the destination a [storing] one.
func failing(failed *atomic.Value) func(*fixture, []delivery.Destination) {
	return func(r *fixture, destinations []delivery.Destination) {
		destinations[0].Sink = storing{r.sinks[0], failed}
	}
}

// TestAnUnstoredBodyHoldsItsGroupAlone: the others of its batch are sent, and it comes before the
// later ones of its group.
func TestAnUnstoredBodyHoldsItsGroupAlone(t *testing.T) {
	t.Parallel()
	for _, limits := range []sink.Limits{fifo, standard} {
		var failed atomic.Value
		failed.Store("a1")
		run(t, one(limits), func(r *fixture) {
			r.sendIDs(0, "a1 a2 b1 c1 c2")
			r.elapse(time.Second)
			r.expectTaken(0, "b1 c1 c2")
			r.expectParked("")
			if n := strings.Count(r.log.String(), "event=large_events_wait"); n != 1 {
				t.Errorf("%d lines say that large events wait, want 1: %s", n, r.log.String())
			}
			if n := r.tally.count["unstored A 1 "+sink.Code(errUnavailable)]; n < 1 {
				t.Errorf("%d failures of the bucket are counted, want those of each attempt: %v", n, r.tally.count)
			}
			failed.Store("")
			r.elapse(time.Minute)
			r.expectTaken(0, "a1 a2 b1 c1 c2")
			r.expectOpen(0)
		}, together, failing(&failed), func(r *fixture, _ []delivery.Destination) { r.options.GroupBatches = true })
	}
}

// TestNoHeaderLosesALargeMessage: the message that points to a body has a limit too.
func TestNoHeaderLosesALargeMessage(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(refuseAbove(1000))
		r.sendSized("a1", 10,
			sink.Attribute{Name: "a", Value: "x"}, sink.Attribute{Name: "b", Value: strings.Repeat("x", 3000)})
		r.elapse(time.Minute)
		r.expectTaken(0, "a1")
		r.expectParked("")
		if n := r.tally.count["header dropped"]; n != 1 || len(r.sinks[0].sent[0].Attributes) != 1 {
			t.Errorf("%d headers dropped, want 1: %+v", n, r.sinks[0].sent[0].Attributes)
		}
	}, failing(&atomic.Value{}))
}
