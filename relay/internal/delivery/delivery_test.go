package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func TestWhatTheDestinationTookIsDelivered(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(30*time.Millisecond, takeAll))
		e := event("a1")
		e.CommittedAt = time.Now().Add(-time.Second)
		r.send(0, e)
		r.expectOpen(1)
		r.elapse(30 * time.Millisecond)
		r.expectOpen(0)
		want := map[string]int{"requested A ": 1, "delivered A": 1}
		if diff := cmp.Diff(want, r.tally.count); diff != "" || r.tally.slowest != 1030*time.Millisecond {
			t.Errorf("observed (-want +got):\n%s\n%s since the commit", diff, r.tally.slowest)
		}
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

func TestARequestKeepsToTheDestinationsLimit(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		for _, id := range []string{"a1", "b1", "c1"} {
			e := event(id)
			e.Message.Body = `"` + strings.Repeat("x", 400) + `"`
			r.send(0, e)
		}
		r.elapse(time.Second)
		r.expectRequests(0, "a1 b1", "c1")
	}, together)
}

// TestABacklogFillsItsRequests: while requests are in flight, others wait until they are full, so
// that few are needed.
func TestABacklogFillsItsRequests(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events, groups = 3000, 300
			run(t, one(limits), func(r *fixture) {
				r.sinks[0].answers(after(10*time.Millisecond, takeAll))
				for i := range events {
					e := event("a")
					e.Message.EventID, e.Message.GroupID = fmt.Sprint(i), fmt.Sprint(i%groups)
					e.Handle = r.tracker.Open(e.Message.EventID, 1)
					r.delivery.Send(0, e)
				}
				r.elapse(time.Minute)
				r.expectOpen(0)
				if n := len(r.sinks[0].requests); n > events*11/100 {
					t.Errorf("%d requests for %d events", n, events)
				}
			}, func(r *fixture, _ []delivery.Destination) { r.options.InFlight = 64 })
		})
	}
}

func TestHeadersThatDoNotFitAreDroppedAndCounted(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		e := event("a1")
		long := sink.Attribute{Name: "tenant", DataType: sink.String, Value: strings.Repeat("x", 1000)}
		e.Message.Attributes = []sink.Attribute{long}
		r.send(0, e)
		r.expectTaken(0, "a1")
		if got := r.tally.count["header dropped"]; got != 1 {
			t.Errorf("%d headers are counted as dropped", got)
		}
	})
}

func TestAnAnswerOfAnotherLengthIsNoAnswer(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(func(context.Context, []*sink.Message) ([]sink.Result, error) { return nil, nil })
		r.sendIDs(0, "a1")
		r.expectOpen(1)
	})
}

// TestAConnectionThatTheBrokerClosedIsNoOutage: the request is repeated unchanged, at once, and
// only once.
func TestAConnectionThatTheBrokerClosedIsNoOutage(t *testing.T) {
	t.Parallel()
	closed := fmt.Errorf("post: %w: %w", sink.ErrConnectionClosed, io.EOF)
	run(t, one(fifo), func(r *fixture) {
		answers := []answer{failAll(closed), takeAll, failAll(closed), failAll(closed)}
		r.sinks[0].answers(func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
			if first := len(answers)%2 == 0; sink.NeedsNewConnection(ctx) == first {
				r.t.Errorf("request %d needs a new connection: %t", len(r.sinks[0].requests), !first)
			}
			next := answers[0]
			answers = answers[1:]
			return next(ctx, batch)
		})
		r.sendIDs(0, "a1")
		r.expectOpen(0)
		r.expectRequests(0, "a1", "a1")
		r.tally.expect(t, "requested A network", 0)
		r.tally.expect(t, "requested A ", 1)
		if r.tally.count["retried A network"] != 0 || strings.Contains(r.log.String(), "retrying") {
			t.Errorf("it counts as an outage: %v, %s", r.tally.count, &r.log)
		}

		r.sendIDs(0, "b1")
		r.expectOpen(1)
		r.expectRequests(0, "a1", "a1", "b1", "b1")
		if !strings.Contains(r.log.String(), "retrying") {
			t.Error("two in a row are no outage either")
		}
	})
}

func TestNoRequestIsRetriedAfterTheLease(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(func(context.Context, []*sink.Message) ([]sink.Result, error) {
			r.lease.set(errLease)
			return nil, sink.ErrConnectionClosed
		})
		r.sendIDs(0, "a1")
		r.expectEnd(errLease)
		r.expectRequests(0, "a1")
	})
}

// TestAnUnknownOutcomeIsSentAgainAsItWas: the broker may have accepted a request that timed out.
func TestAnUnknownOutcomeIsSentAgainAsItWas(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failAll(context.DeadlineExceeded))
		r.sendIDs(0, "a1 a2")
		r.sinks[0].answers(takeAll)
		r.elapse(time.Second)
		r.expectOpen(0)
		r.expectRequests(0, "a1", "a1", "a2")
		if diff := cmp.Diff(r.sinks[0].sent[0], r.sinks[0].sent[1]); diff != "" {
			t.Errorf("sent again with changes:\n%s", diff)
		}
		if r.tally.count["retried A timeout"] != 1 {
			t.Errorf("observed %v", r.tally.count)
		}
	})
}

func TestAnOutageIsSatOutForEver(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failAll(errUnavailable))
		r.sendIDs(0, "a1 b1")
		r.elapse(24 * time.Hour)
		r.expectOpen(2)
		r.expectParked("")
		if n := len(r.sinks[0].requests); n < 8000 || n > 20_000 { // one each 5 to 10 s
			t.Errorf("%d requests in a day", n)
		}
		r.sinks[0].answers(takeAll)
		r.elapse(10 * time.Second)
		r.expectOpen(0)
		for _, line := range []string{
			"event=destination_unavailable", "code=ServiceUnavailable", "event=destination_available",
		} {
			if !strings.Contains(r.log.String(), line) {
				t.Errorf("the log does not say %q", line)
			}
		}
	})
}

func TestAHangingDestinationHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{fifo, standard, fifo}, func(r *fixture) {
		r.sinks[0].answers(hang)
		r.sinks[2].answers(failAll(errUnavailable))
		r.sendIDs(0, "a1 b1 c1")
		r.sendIDs(2, "a1 b1")
		r.sendIDs(1, "a1 b1 c1 d1")
		r.expectTaken(1, "a1 b1 c1 d1")
		r.expectOpen(9) // from the oldest on
	})
}

func TestHaltEndsDeliveryAtARefusedEvent(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failEntry("a1", errRefused))
		r.sendIDs(0, "a1")
		r.elapse(time.Minute)
		r.expectEnd(errRefused)
		var rejected *delivery.HaltError
		if !errors.As(r.err, &rejected) || rejected.Destination != "A" || rejected.EventID != "a1" {
			t.Errorf("Run ended with %v", r.err)
		}
		r.expectParked("")
		r.expectOpen(1)
	}, policy(delivery.Halt))
}

func TestParkingFailureEndsDeliveryWithTheEventOpen(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.parker.err = errNoStore
		r.sinks[0].answers(failEntry("a1", errRefused))
		r.sendIDs(0, "a1")
		r.elapse(time.Minute)
		r.expectEnd(errNoStore)
		r.expectOpen(1)
		if r.tally.count["parked A InvalidMessageContents"] != 0 {
			t.Error("observed as parked")
		}
	})
}

func TestNoRequestStartsOnceThisRelayMayNotPublish(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{fifo, standard}, func(r *fixture) {
		r.sinks[1].answers(after(time.Second, failRequestsWith("b1", errRefused)))
		r.sendIDs(1, "a1 b1 c1 d1")
		r.elapse(500 * time.Millisecond)
		r.lease.set(errLease)
		r.sendIDs(0, "a1")
		r.elapse(time.Millisecond)
		r.lease.set(nil) // too late
		r.sendIDs(0, "b1")
		r.elapse(time.Hour)
		r.expectEnd(errLease)
		r.expectRequests(0)
		r.expectRequests(1, "a1 b1 c1 d1") // and not its halves
	}, together)
}

func TestAStopAwaitsRequestsInFlightAndStartsNone(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{fifo, fifo}, func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sinks[1].answers(after(time.Second, failRequestsWith("b1", errRefused)))
		r.sendIDs(0, "a1 a2")
		r.sendIDs(1, "a1 b1 c1 d1")
		r.elapse(500 * time.Millisecond)
		r.cancel()
		r.sendIDs(0, "b1")
		unusable := event("c1")
		unusable.MarkUnusable(delivery.CodeUnusable, "id is NULL")
		r.send(0, unusable)
		r.elapse(600 * time.Millisecond) // well within the grace
		r.expectEnd(context.Canceled)
		r.elapse(time.Hour)
		r.expectRequests(0, "a1")
		r.expectTaken(0, "a1")
		r.expectRequests(1, "a1 b1 c1 d1")
		r.expectParked("")
		if got := r.tracker.Load().Delivered; got != 1 {
			t.Errorf("%d events are delivered", got)
		}
	}, together)
}

func TestAStopCutsOffARequestThatHangs(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(hang)
		r.sendIDs(0, "a1")
		start := time.Now()
		r.stop()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("the stop took %s", took)
		}
		r.expectOpen(1)
		if strings.Contains(r.log.String(), "event=destination_unavailable") {
			t.Errorf("the log blames the destination:\n%s", r.log.String())
		}
	})
}

func TestNothingLingersOnceNoMoreComes(t *testing.T) {
	t.Parallel()
	linger := func(r *fixture, _ []delivery.Destination) { r.options.Linger = time.Hour }
	run(t, one(fifo), func(r *fixture) {
		r.sendIDs(0, "a1 b1 a2 a3")
		r.expectRequests(0)
		r.delivery.Hurry()
		r.elapse(0)
		r.expectTaken(0, "a1 a2 a3 b1")
	}, linger)
}

// TestBusyDestinationsFillTheirBatches: each alone is below what starts at once, all
// of them are not.
func TestBusyDestinationsFillTheirBatches(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{standard, standard}, func(r *fixture) { // two requests start at once
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sinks[1].answers(after(10*time.Millisecond, takeAll))
		r.sendIDs(0, "a1 b1")
		r.sendIDs(1, "c1 d1 e1")
		r.expectRequests(1, "c1") // a destination without a request in flight does not wait
		r.elapse(10 * time.Millisecond)
		r.expectRequests(1, "c1", "d1 e1")
		r.elapse(time.Second)
		r.sendIDs(1, "f1 g1")
		r.expectRequests(1, "c1", "d1 e1", "f1", "g1")
	})
}
