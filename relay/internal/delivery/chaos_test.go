package delivery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestOrderAndCompletenessSurviveABadDay lets destinations fail in every way for hours, with some
// events that every destination refuses. At the end each event was accepted or parked, and no FIFO
// destination received a first delivery out of order.
func TestOrderAndCompletenessSurviveABadDay(t *testing.T) {
	t.Parallel()
	const groups, perGroup = 12, 40
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			limits := []sink.Limits{fifo, standard, fifo, standard}
			run(t, limits, func(r *fixture) {
				random := rand.New(rand.NewPCG(seed, 0))
				for i := range r.sinks {
					r.sinks[i].answers(badDay(rand.New(rand.NewPCG(seed, uint64(i)+1))))
				}
				for n := range perGroup {
					for g := range groups {
						id := fmt.Sprintf("%c%d", 'a'+g, n)
						if g%4 > 1 && n == perGroup/2 {
							id += poison
						}
						r.send(2*random.IntN(2)+g%2, event(id)) // an even group goes to the FIFO destinations
					}
					r.elapse(time.Duration(random.IntN(2000)) * time.Millisecond)
				}
				r.elapse(time.Hour)
				r.checkDay(groups * perGroup)
			})
		})
	}
}

// poison marks an event that every destination refuses.
const poison = "!"

// badDay answers slowly, and with every kind of failure.
func badDay(random *rand.Rand) answer {
	var mu sync.Mutex // guards random
	return func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
		mu.Lock()
		outcome, failed := random.IntN(10), random.IntN(len(batch))
		delay := time.Duration(random.IntN(300)) * time.Millisecond
		mu.Unlock()
		time.Sleep(delay)
		for _, m := range batch {
			if strings.HasSuffix(m.EventID, poison) {
				return nil, errRefused
			}
		}
		switch outcome {
		case 0:
			return nil, errUnavailable
		case 1:
			return nil, context.DeadlineExceeded
		case 2:
			results := make([]sink.Result, len(batch))
			results[failed].Err = errUnavailable
			return results, nil
		}
		return takeAll(ctx, batch)
	}
}

// checkDay expects every event to be accepted or parked, and each group of a FIFO destination in
// order.
func (r *fixture) checkDay(events int) {
	r.t.Helper()
	r.expectOpen(0)
	taken := 0
	for _, s := range r.sinks {
		taken += len(s.taken)
		last := map[string]int{}
		for _, id := range s.taken {
			var n int
			if _, err := fmt.Sscanf(id[1:], "%d", &n); err != nil {
				r.t.Fatal(err)
			}
			if before, ok := last[id[:1]]; ok && s.limits.FIFO && n <= before {
				r.t.Errorf("group %s: %d was taken after %d", id[:1], n, before)
			}
			last[id[:1]] = n
		}
	}
	r.checkParked()
	if got := taken + len(r.parker.parked); got != events {
		r.t.Errorf("%d events were taken and %d parked, of %d", taken, len(r.parker.parked), events)
	}
}

// checkParked expects poison to be parked, and otherwise only events behind it in its group.
func (r *fixture) checkParked() {
	r.t.Helper()
	blocked := map[string]bool{}
	for _, p := range r.parker.parked {
		key := p.Destination + p.Message.GroupID
		if !blocked[key] && !strings.HasSuffix(p.Message.EventID, poison) {
			r.t.Errorf("%s is parked: %s: %s", p.Message.EventID, p.Code, p.Reason)
		}
		blocked[key] = blocked[key] || p.BlocksGroup
	}
	if len(blocked) == 0 {
		r.t.Error("nothing is parked")
	}
}
