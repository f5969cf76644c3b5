package delivery_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

func TestRefusedRequestIsHalvedDownToOneEvent(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failRequestsWith("e1", errRefused))
		r.sendIDs(0, "a1 b1 c1 d1 e1 f1 g1 h1")
		r.elapse(time.Millisecond)
		r.expectRequests(0, "a1 b1 c1 d1 e1 f1 g1 h1", "a1 b1 c1 d1", "e1 f1 g1 h1", "e1 f1", "e1", "f1", "g1 h1")
		r.expectTaken(0, "a1 b1 c1 d1 f1 g1 h1")
		r.elapse(10 * time.Second)
		r.expectParked("e1")
		r.expectOpen(0)
		want := delivery.DeadLetter{
			Destination: "A", Message: r.parker.parked[0].Message, Code: errRefused.Code, Reason: errRefused.Reason,
			Attempts: r.parker.parked[0].Attempts, BlocksGroup: true,
		}
		if want.Attempts < 5 {
			t.Errorf("parked after %d attempts", want.Attempts)
		}
		if diff := cmp.Diff(want, r.parker.parked[0]); diff != "" {
			t.Errorf("parked (-want +got):\n%s", diff)
		}
	}, together)
}

func TestAFailedEntryGoesAgainAloneInItsGroup(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failEntry("b1", errUnavailable))
		r.sendIDs(0, "a1 a2 b1 b2")
		r.elapse(50 * time.Millisecond)
		r.expectTaken(0, "a1 a2")
		r.sinks[0].answers(takeAll)
		r.elapse(time.Second)
		r.expectTaken(0, "a1 a2 b1 b2")
	}, together)
}

func TestTheAggregateIsParkedBehindARefusedEvent(t *testing.T) {
	t.Parallel()
	check := func(r *fixture) {
		r.sinks[0].answers(after(time.Second, failEntry("a2", errRefused)))
		r.sendIDs(0, "a1 a2 b1")
		r.elapse(1500 * time.Millisecond)
		r.sendIDs(0, "a3 a4") // while the request with a2 is in flight
		r.elapse(30 * time.Second)
		r.sendIDs(0, "a5 b2")
		r.elapse(10 * time.Second)
		r.expectTaken(0, "a1 b1 b2")
		r.expectParked("a2 a3 a4 a5")
		r.expectOpen(0)
		for _, p := range r.parker.parked[1:] {
			if p.Code != "BlockedGroup" || !strings.HasSuffix(p.Reason, ": a2") || !p.BlocksGroup {
				r.t.Errorf("%s is parked with %s: %s, and blocks: %v", p.Message.EventID, p.Code, p.Reason,
					p.BlocksGroup)
			}
		}
	}
	run(t, one(fifo), check)
	run(t, one(standard), check, policy(delivery.ParkAggregate))
}

func TestWithoutOrderOnlyTheRefusedEventIsParked(t *testing.T) {
	t.Parallel()
	check := func(r *fixture) {
		r.sinks[0].answers(failEntry("a2", errRefused))
		r.sendIDs(0, "a1 a2 a3 b1")
		r.elapse(30 * time.Second)
		r.sendIDs(0, "a4")
		r.elapse(time.Second)
		r.expectParked("a2")
		r.expectOpen(0)
		if r.parker.parked[0].BlocksGroup {
			r.t.Error("a2 blocks its group")
		}
	}
	run(t, one(standard), check)
	run(t, one(fifo), check, policy(delivery.Park))
}

func TestAGroupThatIsBlockedFromEarlierStaysSo(t *testing.T) {
	t.Parallel()
	blocked := func(_ *fixture, d []delivery.Destination) { d[0].Blocked = map[string]string{"a": "a0"} }
	run(t, one(fifo), func(r *fixture) {
		r.sendIDs(0, "a1 b1")
		r.expectTaken(0, "b1")
		r.expectParked("a1")
		r.expectOpen(0)
	}, blocked)
}

// Rows that came with a table are older than those of the stream, or are not.
func TestOnlyADeadLetterOfALaterRowIsPassed(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failEntry("a5", errRefused))
		refused := event("a5")
		refused.Row.Sequence = "5"
		r.send(0, refused)
		r.elapse(time.Minute)
		for _, seq := range []string{"4", "6"} {
			joined := event("a" + seq)
			joined.Row.Sequence, joined.Joined = seq, true
			r.send(0, joined)
		}
		r.elapse(time.Minute)
		r.expectTaken(0, "a4")
		r.expectParked("a5 a6")
	})
}

// TestRedrivenLetterPassesParkedOnesAheadOfIt: events that came before the
// redrive are before it in the scheduler's group, and are parked in their turn.
func TestRedrivenLetterPassesParkedOnesAheadOfIt(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, failEntry("a2", errRefused)))
		r.sendIDs(0, "a2 a3")
		letter := event("a1")
		letter.DeadLetter = &delivery.DeadLetter{Position: 1, BlocksGroup: true}
		r.delivery.Send(0, letter)
		r.elapse(time.Minute)
		r.expectParked("a2 a3")
		r.expectTaken(0, "a1")
		r.expectOpen(0)
	})
}

// TestAnInvalidEventIsParkedInItsTurn: after the events before it in its group are delivered, and
// without a request.
func TestAnInvalidEventIsParkedInItsTurn(t *testing.T) {
	t.Parallel()
	tooLarge, unusable := event("a2"), event("b2")
	tooLarge.Message.Body = strings.Repeat(" ", 1000) + "{}"
	unusable.MarkUnusable(delivery.CodeUnusable, "id is NULL")
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sendIDs(0, "a1")
		r.send(0, tooLarge)
		r.elapse(100 * time.Millisecond)
		r.sendIDs(0, "b1")
		r.send(0, unusable)
		r.elapse(800 * time.Millisecond)
		r.expectParked("")
		r.elapse(time.Second)
		r.expectParked("a2 b2")
		r.expectRequests(0, "a1", "b1")
		r.expectOpen(0)
		codes := r.parker.parked[0].Code + " " + r.parker.parked[1].Code
		if codes != "InvalidParameterValue UnusableEvent" {
			t.Errorf("parked with %s", codes)
		}
	})
}

// TestNothingOvertakesAnInvalidEventOfItsAggregate: not in the same batch either.
func TestNothingOvertakesAnInvalidEventOfItsAggregate(t *testing.T) {
	t.Parallel()
	unusable := event("a1")
	unusable.MarkUnusable(delivery.CodeUnusable, "id is NULL")
	grouped := func(r *fixture, _ []delivery.Destination) { r.options.GroupBatches = true }
	run(t, one(fifo), func(r *fixture) {
		r.send(0, event("b1"), unusable)
		r.sendIDs(0, "a2 a3")
		r.elapse(time.Second)
		r.expectTaken(0, "b1")
		r.expectParked("a1 a2 a3")
	}, together, grouped)
}

// TestHalvingARequestKeepsTheOrderOfGroups: a1 is refused in the first half, a2 is
// in the second.
func TestHalvingARequestKeepsTheOrderOfGroups(t *testing.T) {
	t.Parallel()
	grouped := func(r *fixture, _ []delivery.Destination) { r.options.GroupBatches = true }
	t.Run("it is parked", func(t *testing.T) {
		t.Parallel()
		run(t, one(fifo), func(r *fixture) {
			r.sinks[0].answers(failRequestsWith("a1", errRefused))
			r.sendIDs(0, "b1 a1 a2 b2")
			r.elapse(time.Minute)
			r.expectTaken(0, "b1 b2")
			r.expectParked("a1 a2")
			r.expectOpen(0)
		}, together, grouped)
	})
	t.Run("its half fails", func(t *testing.T) {
		t.Parallel()
		run(t, one(fifo), func(r *fixture) {
			first := true
			r.sinks[0].answers(func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
				switch {
				case len(batch) == 4:
					return nil, errRefused
				case first:
					first = false
					return nil, errUnavailable
				}
				return takeAll(ctx, batch)
			})
			r.sendIDs(0, "b1 a1 a2 c1")
			r.elapse(time.Minute)
			r.expectTaken(0, "a1 a2 b1 c1")
			r.expectOpen(0)
		}, together, grouped)
	})
	t.Run("an entry of its half fails", func(t *testing.T) {
		t.Parallel()
		run(t, one(fifo), func(r *fixture) {
			first := true
			r.sinks[0].answers(func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
				switch {
				case len(batch) == 4:
					return nil, errRefused
				case first:
					first = false
					return failEntry("a1", errUnavailable)(ctx, batch)
				}
				return takeAll(ctx, batch)
			})
			r.sendIDs(0, "a1 a2 a3 b1")
			r.elapse(time.Minute)
			r.expectTaken(0, "a2 a1 a3 b1")
		}, together, grouped)
	})
}

// TestNothingIsParkedBehindALaterEventOfItsGroup: if a request holds several events of a group, the
// first of them may fail for a moment and the second for good.
func TestNothingIsParkedBehindALaterEventOfItsGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		second func() *delivery.Event
		first  answer
	}{
		{"refused before it is sent", func() *delivery.Event {
			e := event("a2")
			e.MarkUnusable(delivery.CodeUnusable, "no payload")
			return e
		}, failAll(errUnavailable)},
		{"refused by the destination", func() *delivery.Event { return event("a2") }, failFirstRefuseOthers},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run(t, one(standard), func(r *fixture) {
				r.sinks[0].answers(c.first)
				r.send(0, event("a1"), c.second())
				r.elapse(50 * time.Millisecond)
				r.expectParked("")
				r.sinks[0].answers(failEntry("a2", errRefused))
				r.elapse(10 * time.Second)
				r.sendIDs(0, "a3")
				r.elapse(time.Second)
				r.expectTaken(0, "a1")
				r.expectParked("a2 a3")
				r.expectOpen(0)
			}, together, policy(delivery.ParkAggregate))
		})
	}
}

// failFirstRefuseOthers fails the first message of a request for a moment and the others for good.
func failFirstRefuseOthers(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
	results := make([]sink.Result, len(batch))
	for i := range results {
		results[i].Err = errRefused
	}
	results[0].Err = errUnavailable
	return results, nil
}
