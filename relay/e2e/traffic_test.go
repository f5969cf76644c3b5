package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// traffic is a number of writers that commit one event after the other until they are stopped. Each
// has aggregates of its own, so that the order of its events is that of its commits.
type traffic struct {
	stop func()

	mu        sync.Mutex
	committed []written
}

// written is an event of one writer.
type written struct {
	id, aggregate string
	n             int // counts the events of an aggregate
}

// payload is the payload of an event with this number.
func (e written) payload() string { return fmt.Sprintf(`{"n": %d}`, e.n) }

// startTraffic starts writers. The statement inserts an event: $1 is its id, $2 its aggregate and
// $3 its payload.
func (w *testEnv) startTraffic(statement string) *traffic {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t, writers := &traffic{}, sync.WaitGroup{}
	t.stop = sync.OnceFunc(func() {
		cancel()
		writers.Wait()
	})
	w.t.Cleanup(t.stop)
	for writer := range 3 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				e := written{
					id: uuid.NewString(), aggregate: fmt.Sprintf("%d-%d", writer, n%3), n: n / 3,
				}
				if _, err := w.pool.Exec(context.Background(), statement, e.id, e.aggregate, e.payload()); err != nil {
					w.t.Errorf("write event %d of aggregate %s: %v", e.n, e.aggregate, err)
					return
				}
				t.add(e)
				time.Sleep(5 * time.Millisecond) // the rate of the traffic
			}
		})
	}
	return t
}

func (t *traffic) add(e written) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed = append(t.committed, e)
}

// all returns the events that are committed.
func (t *traffic) all() []written {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]written(nil), t.committed...)
}

// handover is the outcome of a change from one publisher to another under load.
type handover struct {
	before map[string]bool // ids that the former publisher delivered
	after  map[string]bool // ids that the next one delivered
}

// awaitHandover waits until the former publisher, or the relay to the queue arn, has delivered each
// event of all. The attribute name of a message has the id of its event. The event that was written
// last need not arrive last, because only the events of one aggregate are in order. After patience,
// check names those that are missing.
func (w *testEnv) awaitHandover(all []written, before map[string]bool, arn, name string) handover {
	w.t.Helper()
	h := handover{before: before}
	for began := time.Now(); time.Since(began) < patience; time.Sleep(pollInterval(began)) {
		h.after = w.ids(arn, name)
		if !slices.ContainsFunc(all, func(e written) bool { return !h.before[e.id] && !h.after[e.id] }) {
			break
		}
	}
	return h
}

// check checks that each event was delivered, and that none came twice of those that had to come
// once.
func (h handover) check(t *testing.T, all []written, once map[string]bool) {
	t.Helper()
	lost, repeated := 0, 0
	for _, e := range all {
		switch {
		case !h.before[e.id] && !h.after[e.id]:
			lost++
			t.Errorf("event %d of aggregate %s is lost", e.n, e.aggregate)
		case h.before[e.id] && h.after[e.id]:
			repeated++
			if once[e.id] {
				t.Errorf("event %d of aggregate %s came twice", e.n, e.aggregate)
			}
		}
	}
	t.Logf("%d events, %d by the former publisher, %d by the next one, %d by both, %d that had to come once, %d lost",
		len(all), len(h.before), len(h.after), repeated, len(once), lost)
}

// ids returns the event ids that the destination received, by an attribute.
func (w *testEnv) ids(arn, name string) map[string]bool {
	ids := map[string]bool{}
	for _, m := range w.broker.Received(arn) {
		ids[attribute(m.Attributes, name)] = true
	}
	return ids
}

// requireOrder checks that the events of each group arrived in the order of their commits.
func (w *testEnv) requireOrder(arn string) {
	w.t.Helper()
	last := map[string]int{}
	for _, m := range w.broker.Received(arn) {
		var n int
		if _, err := fmt.Sscanf(m.Body, `{"n": %d}`, &n); err != nil {
			w.t.Fatalf("body %s: %v", m.Body, err)
		}
		if before, ok := last[m.GroupID]; ok && n <= before {
			w.t.Errorf("group %s: event %d after %d", m.GroupID, n, before)
		}
		last[m.GroupID] = n
	}
}
