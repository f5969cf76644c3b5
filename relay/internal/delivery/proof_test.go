package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// refusals are the two ways to refuse x1: the request that it is alone in, or its entry.
var refusals = map[string]answer{"request": failRequestsWith("x1", errRefused), "entry": failEntry("x1", errRefused)}

// eachRefusal runs test with a destination that refuses x1.
func eachRefusal(t *testing.T, test func(*rig)) {
	t.Helper()
	for name, refuse := range refusals {
		for kind, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				run(t, one(limits), func(r *rig) {
					r.sinks[0].answers(refuse)
					r.sendIDs(0, "x1")
					test(r)
				})
			})
		}
	}
}

// flow sends an event of another group each half second.
func (r *rig) flow(d time.Duration) {
	for i := range int(d / (500 * time.Millisecond)) {
		r.sendIDs(0, fmt.Sprint("h", i, time.Now().UnixMilli()))
		r.elapse(500 * time.Millisecond)
	}
}

func TestParkingNeedsASecondRefusal(t *testing.T) {
	t.Parallel()
	eachRefusal(t, func(r *rig) {
		r.flow(2500 * time.Millisecond)
		r.expectParked("")
		r.flow(10 * time.Second)
		r.expectParked("x1")
		r.expectOpen(0)
		r.tally.expect(r.t, "parked A InvalidMessageContents", 1)
	})
}

// TestAloneEventIsParkedLater: nothing else is sent that could show whether the destination works.
func TestAloneEventIsParkedLater(t *testing.T) {
	t.Parallel()
	eachRefusal(t, func(r *rig) {
		r.elapse(14 * time.Second)
		r.expectParked("")
		r.elapse(20 * time.Second)
		r.expectParked("x1")
		r.expectOpen(0)
	})
}

func TestARefusalThatPassesParksNothing(t *testing.T) {
	t.Parallel()
	eachRefusal(t, func(r *rig) {
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
			run(t, one(fifo), func(r *rig) {
				r.sinks[0].answers(refuse)
				r.sendIDs(0, "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1")
				r.elapse(time.Hour)
				r.expectParked("")
				r.sinks[0].answers(takeAll)
				r.elapse(time.Minute)
				r.expectTaken(0, "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1")
				r.expectOpen(0)
				r.stop()
				if !strings.Contains(r.log.String(), "destination takes nothing") {
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
			run(t, one(fifo), func(r *rig) {
				r.sinks[0].answers(refuse)
				r.sendIDs(0, "b1 x1")
				for i := range 30 {
					r.sendIDs(0, fmt.Sprint("c", i))
					r.tally.expect(t, "delivered A", 2+i)
					r.elapse(100 * time.Millisecond)
				}
				r.stop()
				if strings.Contains(r.log.String(), "takes nothing") {
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
	run(t, one(standard), func(r *rig) {
		r.sinks[0].answers(failEntry("x1", errRefused))
		r.sendIDs(0, "x1")
		r.sendIDs(0, "x2 x3")
		r.flow(10 * time.Second)
		r.expectParked("x1 x2 x3")
	}, policy("park-aggregate"))
}

// TestABodyThatIsAlwaysAlteredIsParked: the destination has it, in as many copies as it was sent.
func TestABodyThatIsAlwaysAlteredIsParked(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]sink.Limits{"standard": standard, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, one(limits), func(r *rig) {
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
	run(t, one(standard), func(r *rig) {
		r.sinks[0].answers(failEntry("x1", &sink.AlteredError{Reason: "another body"}))
		r.sendIDs(0, "x1")
		r.sinks[0].answers(takeAll)
		r.elapse(time.Minute)
		r.expectTaken(0, "x1")
		r.expectParked("")
	})
}
