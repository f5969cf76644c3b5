package delivery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// sizedEvent is the event id with a body of so many bytes.
func (r *fixture) sendSized(id string, bytes int, attributes ...sink.Attribute) {
	e := event(id)
	e.Message.Body, e.Message.Attributes = strings.Repeat("x", bytes), attributes
	r.send(0, e)
}

// changeLimit has the next read find another size.
func (s *memorySink) changeLimit(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.limits
	s.now.MaxMessageBytes, s.now.MaxBatchBytes = bytes, bytes
}

// refuseAbove refuses each request with more bytes than that, as a destination does.
func refuseAbove(bytes int) answer {
	return func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
		size := 0
		for _, m := range batch {
			size += m.Size()
		}
		if size > bytes {
			return nil, &sink.RejectedError{Code: "BatchRequestTooLong", Reason: "too long"}
		}
		return make([]sink.Result, len(batch)), nil
	}
}

// TestARaisedLimitLetsAnEventPass although the relay has read another one, with its headers.
func TestARaisedLimitLetsAnEventPass(t *testing.T) {
	t.Parallel()
	for _, limits := range []sink.Limits{standard, fifo} {
		run(t, one(limits), func(r *fixture) {
			r.sendSized("a1", 1500)
			r.expectParked("a1")
			r.sinks[0].changeLimit(3000)
			r.elapse(2 * time.Second)
			r.sendSized("b1", 1500,
				sink.Attribute{Name: "tenant", DataType: sink.String, Value: strings.Repeat("t", 1000)})
			r.expectTaken(0, "b1")
			if sent := r.sinks[0].sent[0]; len(sent.Attributes) != 1 {
				t.Error("its header was dropped for the limit of before")
			}
			r.sendSized("c1", 2500)
			r.expectTaken(0, "b1 c1")
			r.expectParked("a1")
		})
	}
}

// TestALoweredLimitIsReadAfterARefusal: batches are smaller from then on, and an event that is too
// large says why.
func TestALoweredLimitIsReadAfterARefusal(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].changeLimit(500)
		r.sinks[0].answers(refuseAbove(500))
		r.sendSized("a1", 800)
		r.elapse(time.Second)
		r.expectParked("a1")
		if reason := r.parker.parked[0].Reason; !strings.Contains(reason, "accepts 500") {
			t.Errorf("parked for %q, want the limit", reason)
		}
		refused := r.tally.count["requested A BatchRequestTooLong"]
		for _, id := range []string{"b1", "c1", "d1", "e1"} {
			r.sendSized(id, 300)
		}
		r.elapse(time.Second)
		r.expectTaken(0, "b1 c1 d1 e1")
		r.tally.expect(t, "requested A BatchRequestTooLong", refused)
	}, together)
}

// TestLimitsAreReadInIntervals, as nothing else shows that a limit was raised for batches.
func TestLimitsAreReadInIntervals(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].changeLimit(3000)
		r.elapse(5*time.Minute + time.Second)
		if limit := r.sinks[0].Limits().MaxMessageBytes; limit != 3000 {
			t.Errorf("the limit is %d", limit)
		}
		r.elapse(10 * time.Minute)
		r.stop()
		if n := r.sinks[0].reads; n != 3 {
			t.Errorf("%d reads in a quarter of an hour", n)
		}
		if n := strings.Count(r.log.String(), "have changed"); n != 1 {
			t.Errorf("%d changes logged", n)
		}
	})
}

// TestLimitsThatCannotBeReadStay, and a flood of large events asks for them once a second at most.
func TestLimitsThatCannotBeReadStay(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].unreadable = errors.New("access denied")
		for _, id := range strings.Fields("a1 b1 c1 d1 e1 f1") {
			r.sendSized(id, 1500)
		}
		r.expectParked("a1 b1 c1 d1 e1 f1")
		r.sendIDs(0, "g1")
		r.expectTaken(0, "g1")
		r.stop()
		if n := r.sinks[0].reads; n != 1 {
			t.Errorf("%d reads", n)
		}
		if n := strings.Count(r.log.String(), "cannot be read again"); n != 1 {
			t.Errorf("%d warnings", n)
		}
	})
}

// TestNoHeaderLosesItsMessage: a topic may accept a message with a tab in an attribute and deliver
// it to no subscription.
func TestNoHeaderLosesItsMessage(t *testing.T) {
	t.Parallel()
	topic := standard
	topic.OneLine = true
	for name, value := range map[string]string{"tab": "a\tb", "line feed": "a\nb", "carriage return": "\r"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, []sink.Limits{topic, standard}, func(r *fixture) {
				header := sink.Attribute{Name: "note", DataType: sink.String, Value: value}
				own := sink.Attribute{Name: "event_type", DataType: sink.String, Value: value}
				for destination := range 2 {
					for _, id := range []string{"a1", "b1"} {
						e := event(id)
						e.Message.Attributes = []sink.Attribute{header}
						r.send(destination, e)
					}
					e := event("c1")
					e.Message.Attributes = []sink.Attribute{own}
					r.send(destination, e)
				}
				r.expectTaken(0, "a1 b1")
				r.expectTaken(1, "a1 b1 c1")
				r.expectParked("c1")
				if topic, queue := r.sinks[0].sent[0], r.sinks[1].sent[0]; len(topic.Attributes) != 0 ||
					len(queue.Attributes) != 1 {
					t.Errorf("%d attributes to the topic, %d to the queue", len(topic.Attributes),
						len(queue.Attributes))
				}
				r.tally.expect(t, "header dropped", 2)
				r.stop()
				if n := strings.Count(r.log.String(), "headers excluded"); n != 1 {
					t.Errorf("said %d times", n)
				}
			})
		})
	}
}
