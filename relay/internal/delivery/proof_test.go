package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// refusals are the two ways to refuse x1: the request that it is alone in, or its entry.
var refusals = map[string]answer{"request": failRequestsWith("x1", errRefused), "entry": failEntry("x1", errRefused)}

// eachRefusal runs test with a destination that refuses x1.
func eachRefusal(t *testing.T, test func(*fixture)) {
	t.Helper()
	for name, refuse := range refusals {
		for kind, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				run(t, one(limits), func(r *fixture) {
					r.sinks[0].answers(refuse)
					r.sendIDs(0, "x1")
					test(r)
				})
			})
		}
	}
}

// flow sends an event of another group each half second.
func (r *fixture) flow(d time.Duration) {
	for i := range int(d / (500 * time.Millisecond)) {
		r.sendIDs(0, fmt.Sprint("h", i, time.Now().UnixMilli()))
		r.elapse(500 * time.Millisecond)
	}
}

func TestParkingNeedsASecondRefusal(t *testing.T) {
	t.Parallel()
	eachRefusal(t, func(r *fixture) {
		r.flow(2500 * time.Millisecond)
		r.expectParked("")
		r.flow(10 * time.Second)
		r.expectParked("x1")
		r.expectOpen(0)
		r.tally.expect(r.t, "parked A InvalidMessageContents", 1)
	})
}

// TestASlowRefusalIsOnlyOne: the destination answers late, and takes other events until then.
func TestASlowRefusalIsOnlyOne(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		slow := after(8*time.Second, failAll(errRefused))
		r.sinks[0].answers(func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
			if batch[0].EventID == "x1" {
				return slow(ctx, batch)
			}
			return takeAll(ctx, batch)
		})
		r.sendIDs(0, "x1")
		r.flow(9 * time.Second)
		r.expectParked("")
		r.flow(10 * time.Second)
		r.expectParked("x1")
	})
}

// TestAloneEventIsParkedLater: nothing else is sent that could show whether the destination works.
func TestAloneEventIsParkedLater(t *testing.T) {
	t.Parallel()
	eachRefusal(t, func(r *fixture) {
		r.elapse(14 * time.Second)
		r.expectParked("")
		r.elapse(20 * time.Second)
		r.expectParked("x1")
		r.expectOpen(0)
	})
}

func TestARefusalThatPassesParksNothing(t *testing.T) {
	t.Parallel()
	eachRefusal(t, func(r *fixture) {
		r.flow(2 * time.Second)
		r.sinks[0].answers(takeAll)
		r.flow(10 * time.Second)
		r.expectParked("")
		r.expectOpen(0)
	})
}

// TestRefusalOfEverythingParksNothing: the destination is at fault, not ten different events.
func TestRefusalOfEverythingParksNothing(t *testing.T) {
	t.Parallel()
	everyEntry := func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
		results := make([]sink.Result, len(batch))
		for i := range results {
			results[i].Err = errRefused
		}
		return results, nil
	}
	for name, refuse := range map[string]answer{"request": failAll(errRefused), "entry": everyEntry} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, one(fifo), func(r *fixture) {
				r.sinks[0].answers(refuse)
				r.sendIDs(0, "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1")
				r.elapse(time.Hour)
				r.expectParked("")
				r.sinks[0].answers(takeAll)
				r.elapse(time.Minute)
				r.expectTaken(0, "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1")
				r.expectOpen(0)
				r.stop()
				if !strings.Contains(r.log.String(), "event=destination_unavailable") {
					t.Error("the log does not say that the destination takes nothing")
				}
			})
		})
	}
}

// TestASuspectHoldsUpNoOther: its refusal is no sign that the destination is unavailable.
func TestASuspectHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, one(fifo), func(r *fixture) {
				r.sinks[0].answers(refuse)
				r.sendIDs(0, "b1 x1")
				for i := range 30 {
					r.sendIDs(0, fmt.Sprint("c", i))
					r.tally.expect(t, "delivered A", 2+i)
					r.elapse(100 * time.Millisecond)
				}
				r.stop()
				if strings.Contains(r.log.String(), "event=destination_unavailable") {
					t.Errorf("the log blames the destination:\n%s", r.log.String())
				}
			})
		})
	}
}

func (c *tally) expect(t *testing.T, key string, want int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.count[key]; got != want {
		t.Errorf("%s: %d times, want %d", key, got, want)
	}
}

// TestNothingOvertakesASuspect of its group: it may block the group in the end.
func TestNothingOvertakesASuspect(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].answers(failEntry("x1", errRefused))
		r.sendIDs(0, "x1")
		r.sendIDs(0, "x2 x3")
		r.flow(10 * time.Second)
		r.expectParked("x1 x2 x3")
	}, policy("park-aggregate"))
}

// TestABodyThatIsAlwaysAlteredIsParked: the destination has as many copies as were sent.
func TestABodyThatIsAlwaysAlteredIsParked(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, one(limits), func(r *fixture) {
				altered := failEntry("x1", &sink.AlteredError{Reason: "another body"})
				r.sinks[0].answers(altered)
				r.sendIDs(0, "x1")
				r.elapse(time.Hour)
				r.expectParked("x1")
				r.expectRequests(0, "x1", "x1", "x1")
				if code := r.parker.parked[0].Code; code != "ChecksumMismatch" {
					t.Errorf("parked with the code %s", code)
				}
				r.expectOpen(0)
			})
		})
	}
}

func TestABodyThatWasAlteredOnceArrives(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].answers(failEntry("x1", &sink.AlteredError{Reason: "another body"}))
		r.sendIDs(0, "x1")
		r.sinks[0].answers(takeAll)
		r.elapse(time.Minute)
		r.expectTaken(0, "x1")
		r.expectParked("")
	})
}

// poisoned refuses, as an entry, each event of the groups.
func poisoned(groups string) answer {
	return func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
		results := make([]sink.Result, len(batch))
		for i, m := range batch {
			if strings.Contains(groups, m.GroupID) {
				results[i].Err = errRefused
			}
		}
		return results, nil
	}
}

// poisonedRequests refuses each request that has an event of the groups.
func poisonedRequests(groups string) answer {
	return func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
		for _, m := range batch {
			if strings.Contains(groups, m.GroupID) {
				return nil, errRefused
			}
		}
		return make([]sink.Result, len(batch)), nil
	}
}

// TestFewRefusedEventsAloneAreParked: no healthy event comes that could show whether the
// destination works.
func TestFewRefusedEventsAloneAreParked(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]answer{"entry": poisoned("vwxyz"), "request": poisonedRequests("vwxyz")} {
		for _, ids := range []string{"x1 y1", "v1 w1 x1 y1 z1"} {
			for kind, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
				t.Run(name+" "+kind+" "+ids, func(t *testing.T) {
					t.Parallel()
					run(t, one(limits), func(r *fixture) {
						r.sinks[0].answers(refuse)
						r.sendIDs(0, ids)
						r.elapse(14 * time.Second)
						r.expectParked("")
						r.elapse(time.Minute)
						r.expectParked(ids)
						r.expectOpen(0)
					})
				})
			}
		}
	}
}

// TestARefusingDestinationParksFew of the events that come one by one, and all of them arrive once
// it works.
func TestARefusingDestinationParksFew(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].answers(failAll(errRefused))
		for i := range 20 {
			r.sendIDs(0, fmt.Sprint(string(rune('a'+i)), 1))
			r.elapse(time.Minute)
		}
		if n := len(r.parker.parked); n > 5 {
			t.Errorf("%d events parked", n)
		}
		r.sinks[0].answers(takeAll)
		r.elapse(time.Minute)
		r.expectOpen(0)
	})
}

// TestAFaultInBetweenStartsTheProofAgain: while requests fail for other reasons, a refusal may be a
// part of the fault.
func TestAFaultInBetweenStartsTheProofAgain(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		begin := time.Now()
		r.sinks[0].answers(func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
			if since := time.Since(begin); since > 9*time.Second && since < 30*time.Second {
				return nil, errUnavailable
			}
			return poisoned("x")(ctx, batch)
		})
		r.sendIDs(0, "x1")
		r.elapse(44 * time.Second)
		r.expectParked("")
		r.elapse(time.Minute)
		r.expectParked("x1")
	})
}

// TestARefusedGroupIsProvenTogether: what comes behind a refused event was refused in the same
// answers.
func TestARefusedGroupIsProvenTogether(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].answers(poisoned("x"))
		r.send(0, event("x0"))
		for i := range 9 {
			r.send(0, event(fmt.Sprint("x", i+1)))
		}
		r.flow(2500 * time.Millisecond)
		r.expectParked("")
		r.flow(8 * time.Second)
		r.expectParked("x0 x1 x2 x3 x4 x5 x6 x7 x8 x9")
		r.expectOpen(0)
	}, together)
}

// TestATooLargeHeadParksNothing: a proxy refuses requests of more than two events, then every
// request.
func TestATooLargeHeadParksNothing(t *testing.T) {
	t.Parallel()
	tooLarge := sink.RequestError(431, "HTTP 431", "HTTP 431 from proxy, not SQS", nil)
	run(t, one(standard), func(r *fixture) {
		r.sinks[0].answers(func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
			if len(batch) > 2 {
				return nil, tooLarge
			}
			return make([]sink.Result, len(batch)), nil
		})
		for _, id := range strings.Fields("a1 b1 c1 d1 e1 f1 g1 h1") {
			r.delivery.Send(0, r.opened(id))
		}
		r.elapse(time.Second)
		r.expectTaken(0, "a1 b1 c1 d1 e1 f1 g1 h1")

		r.sinks[0].answers(failAll(tooLarge))
		r.sendIDs(0, "i1")
		r.elapse(time.Hour)
		r.expectParked("")
		r.expectOpen(1)
	}, together)
}

// opened is the event id, which the Tracker knows.
func (r *fixture) opened(id string) *delivery.Event {
	e := event(id)
	e.Handle = r.tracker.Open(id, 1)
	return e
}

// TestAnAcceptanceOfBeforeProvesNothing: the request that was accepted was sent while the
// destination still worked. It refuses all that is sent since, so the events are not at fault.
func TestAnAcceptanceOfBeforeProvesNothing(t *testing.T) {
	t.Parallel()
	run(t, one(standard), func(r *fixture) {
		slow := after(8*time.Second, takeAll)
		r.sinks[0].answers(func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
			if batch[0].EventID == "h1" {
				return slow(ctx, batch)
			}
			return nil, errRefused
		})
		r.sendIDs(0, "h1")
		r.elapse(time.Second)
		r.sendIDs(0, "a1 b1 c1 d1 e1 f1")
		r.elapse(2 * time.Minute)
		r.expectParked("")
	})
}
