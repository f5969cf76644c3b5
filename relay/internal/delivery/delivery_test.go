package delivery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// one is a single destination.
func one(limits sink.Limits) []sink.Limits { return []sink.Limits{limits} }

// policy sets what becomes of a refused event.
func policy(p delivery.Policy) func(*rig, []delivery.Destination) {
	return func(r *rig, _ []delivery.Destination) { r.options.OnRejected = p }
}

// together makes the next events share a batch.
func together(r *rig, _ []delivery.Destination) { r.options.Linger = time.Millisecond }

func TestWhatTheDestinationTookIsDelivered(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
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

func TestAnAnswerOfAnotherLengthIsNoAnswer(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(func(context.Context, []*sink.Message) ([]sink.Result, error) { return nil, nil })
		r.sendIDs(0, "a1")
		r.expectOpen(1)
	})
}

// TestAnUnknownOutcomeIsSentAgainAsItWas: the broker may have taken a request that timed out.
func TestAnUnknownOutcomeIsSentAgainAsItWas(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
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
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(failAll(errAway))
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
		for _, line := range []string{"destination takes nothing, retrying", "code=ServiceUnavailable", "destination takes events again"} {
			if !strings.Contains(r.log.String(), line) {
				t.Errorf("the log does not say %q", line)
			}
		}
	})
}

func TestAHangingDestinationHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{fifo, standard, fifo}, func(r *rig) {
		r.sinks[0].answers(hang)
		r.sinks[2].answers(failAll(errAway))
		r.sendIDs(0, "a1 b1 c1")
		r.sendIDs(2, "a1 b1")
		r.sendIDs(1, "a1 b1 c1 d1")
		r.expectTaken(1, "a1 b1 c1 d1")
		r.expectOpen(9) // from the oldest on
	})
}

func TestARefusedRequestIsHalvedUntilThePoisonStandsAlone(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(failRequestsWith("e1", errRefused))
		r.sendIDs(0, "a1 b1 c1 d1 e1 f1 g1 h1")
		r.elapse(time.Millisecond)
		r.expectRequests(0, "a1 b1 c1 d1 e1 f1 g1 h1", "a1 b1 c1 d1", "e1 f1 g1 h1", "e1 f1", "e1", "f1", "g1 h1")
		r.expectTaken(0, "a1 b1 c1 d1 f1 g1 h1")
		r.expectParked("e1")
		r.expectOpen(0)
		want := delivery.Parked{
			Destination: "A", Message: r.parker.parked[0].Message, Code: errRefused.Code, Reason: errRefused.Reason, BlocksGroup: true,
		}
		if diff := cmp.Diff(want, r.parker.parked[0]); diff != "" {
			t.Errorf("parked (-want +got):\n%s", diff)
		}
	}, together)
}

// TestTheRefusalOfASingleMessageCountsOnlyFromADestinationThatWorks: else it may be the destination's fault.
func TestTheRefusalOfASingleMessageCountsOnlyFromADestinationThatWorks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		tookBefore time.Duration
		parked     string
	}{
		{"took one within the last minute", 59 * time.Second, "x1"},
		{"took one longer ago", 61 * time.Second, ""},
		{"took none yet", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run(t, one(fifo), func(r *rig) {
				if c.tookBefore > 0 {
					r.sendIDs(0, "a1")
					r.elapse(c.tookBefore)
				}
				r.sinks[0].answers(failRequestsWith("x1", errRefused))
				r.sendIDs(0, "x1")
				r.expectParked(c.parked)
				r.elapse(time.Hour)
				r.expectParked(c.parked)

				r.sendIDs(0, "b1") // proves it
				r.elapse(30 * time.Second)
				r.expectParked("x1")
				r.expectOpen(0)
			})
		})
	}
}

func TestTheRefusalOfAnEntryParksAtOnce(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(failEntry("a1", errRefused))
		r.sendIDs(0, "a1")
		r.expectParked("a1")
		r.expectOpen(0)
		if r.tally.count["parked A InvalidMessageContents"] != 1 {
			t.Errorf("observed %v", r.tally.count)
		}
	})
}

func TestAFailedEntryGoesAgainAloneInItsGroup(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(failEntry("b1", errAway))
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
	check := func(r *rig) {
		r.sinks[0].answers(after(time.Second, failEntry("a2", errRefused)))
		r.sendIDs(0, "a1 a2 b1")
		r.elapse(1500 * time.Millisecond)
		r.sendIDs(0, "a3 a4") // while the request with a2 is under way
		r.elapse(10 * time.Second)
		r.sendIDs(0, "a5 b2")
		r.elapse(10 * time.Second)
		r.expectTaken(0, "a1 b1 b2")
		r.expectParked("a2 a3 a4 a5")
		r.expectOpen(0)
		for _, p := range r.parker.parked[1:] {
			if p.Code != "BlockedGroup" || !strings.HasSuffix(p.Reason, ": a2") || !p.BlocksGroup {
				r.t.Errorf("%s is parked with %s: %s, and blocks: %v", p.Message.EventID, p.Code, p.Reason, p.BlocksGroup)
			}
		}
	}
	run(t, one(fifo), check)
	run(t, one(standard), check, policy(delivery.ParkAggregate))
}

func TestOnlyTheRefusedEventIsParkedWhereOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	check := func(r *rig) {
		r.sinks[0].answers(failEntry("a2", errRefused))
		r.sendIDs(0, "a1 a2 a3 b1")
		r.elapse(time.Second)
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
	blocked := func(_ *rig, d []delivery.Destination) { d[0].Blocked = map[string]string{"a": "a0"} }
	run(t, one(fifo), func(r *rig) {
		r.sendIDs(0, "a1 b1")
		r.expectTaken(0, "b1")
		r.expectParked("a1")
		r.expectOpen(0)
	}, blocked)
}

// TestAnInvalidEventIsParkedInItsTurn: not before what comes before it in its group is delivered, and without a request.
func TestAnInvalidEventIsParkedInItsTurn(t *testing.T) {
	t.Parallel()
	tooLarge, unusable := event("a2"), event("b2")
	tooLarge.Message.Body = strings.Repeat(" ", 1000) + "{}"
	unusable.Problem = "id is NULL"
	run(t, one(fifo), func(r *rig) {
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
		if codes := r.parker.parked[0].Code + " " + r.parker.parked[1].Code; codes != "InvalidParameterValue UnusableEvent" {
			t.Errorf("parked with %s", codes)
		}
	})
}

// TestNothingOvertakesAnInvalidEventWhoseAggregateIsParked: not in the same batch either.
func TestNothingOvertakesAnInvalidEventWhoseAggregateIsParked(t *testing.T) {
	t.Parallel()
	unusable := event("a1")
	unusable.Problem = "id is NULL"
	grouped := func(r *rig, _ []delivery.Destination) { r.options.GroupBatches = true }
	run(t, one(fifo), func(r *rig) {
		r.send(0, event("b1"), unusable)
		r.sendIDs(0, "a2 a3")
		r.elapse(time.Second)
		r.expectTaken(0, "b1")
		r.expectParked("a1 a2 a3")
	}, together, grouped)
}

func TestHaltEndsDeliveryAtARefusedEvent(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(failEntry("a1", errRefused))
		r.sendIDs(0, "a1")
		r.expectEnd(errRefused)
		var rejected *delivery.RejectedError
		if !errors.As(r.err, &rejected) || rejected.Destination != "A" || rejected.EventID != "a1" {
			t.Errorf("Run ended with %v", r.err)
		}
		r.expectParked("")
		r.expectOpen(1)
	}, policy(delivery.Halt))
}

func TestAnEventThatCannotBeParkedEndsDeliveryAndStaysOpen(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.parker.err = errNoStore
		r.sinks[0].answers(failEntry("a1", errRefused))
		r.sendIDs(0, "a1")
		r.expectEnd(errNoStore)
		r.expectOpen(1)
		if r.tally.count["parked A InvalidMessageContents"] != 0 {
			t.Error("observed as parked")
		}
	})
}

func TestNoRequestStartsOnceThisRelayMayNotPublish(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{fifo, standard}, func(r *rig) {
		r.sinks[1].answers(after(time.Second, failRequestsWith("b1", errRefused)))
		r.sendIDs(1, "a1 b1 c1 d1")
		r.elapse(500 * time.Millisecond)
		r.holder.set(errHolder)
		r.sendIDs(0, "a1")
		r.elapse(time.Millisecond)
		r.holder.set(nil) // too late
		r.sendIDs(0, "b1")
		r.elapse(time.Hour)
		r.expectEnd(errHolder)
		r.expectRequests(0)
		r.expectRequests(1, "a1 b1 c1 d1") // and not its halves
	}, together)
}

func TestAStopAwaitsRequestsInFlightAndStartsNone(t *testing.T) {
	t.Parallel()
	run(t, []sink.Limits{fifo, fifo}, func(r *rig) {
		r.sinks[0].answers(after(time.Second, takeAll))
		r.sinks[1].answers(after(time.Second, failRequestsWith("b1", errRefused)))
		r.sendIDs(0, "a1 a2")
		r.sendIDs(1, "a1 b1 c1 d1")
		r.elapse(500 * time.Millisecond)
		r.cancel()
		r.sendIDs(0, "b1")
		r.elapse(600 * time.Millisecond) // well within the grace
		r.expectEnd(context.Canceled)
		r.elapse(time.Hour)
		r.expectRequests(0, "a1")
		r.expectTaken(0, "a1")
		r.expectRequests(1, "a1 b1 c1 d1")
		if got := r.tracker.Load().Delivered; got != 1 {
			t.Errorf("%d events are delivered", got)
		}
	}, together)
}

func TestAStopCutsOffARequestThatHangs(t *testing.T) {
	t.Parallel()
	run(t, one(fifo), func(r *rig) {
		r.sinks[0].answers(hang)
		r.sendIDs(0, "a1")
		start := time.Now()
		r.stop()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("the stop took %s", took)
		}
		r.expectOpen(1)
		synctest.Wait()
	})
}
