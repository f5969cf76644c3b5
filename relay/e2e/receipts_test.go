package e2e_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// bodies returns how often the default destination has accepted each body.
func (w *testEnv) bodies() map[string]int {
	bodies := map[string]int{}
	for _, r := range w.broker.Received(w.queue.ARN) {
		bodies[r.Body]++
	}
	return bodies
}

func (w *testEnv) awaitBody(body string) {
	w.t.Helper()
	w.eventually("event "+body+" arrives", func() bool { return w.bodies()[body] > 0 })
}

// awaitAll waits until n different bodies have arrived.
func (w *testEnv) awaitAll(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d different events have arrived", n), func() bool { return len(w.bodies()) >= n })
}

// awaitReceived waits until the default destination has accepted n messages.
func (w *testEnv) awaitReceived(n int) []fakeaws.Receipt {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.must(w.broker.AwaitReceived(ctx, w.queue.ARN, n))
	return w.broker.Received(w.queue.ARN)
}

// attribute returns the value of a message attribute.
func attribute(attributes []fakeaws.Attribute, name string) string {
	for _, a := range attributes {
		if a.Name == name {
			return a.StringValue
		}
	}
	return ""
}

// each returns the bodies from first to last, each expected once.
func each(first, last int) map[string]int {
	bodies := map[string]int{}
	for n := first; n <= last; n++ {
		bodies[fmt.Sprint(n)] = 1
	}
	return bodies
}

// awaitOnce waits until these bodies have arrived. It fails if one arrives twice, or if another
// arrives that is neither "before" nor "after".
func (w *testEnv) awaitOnce(want map[string]int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d events have arrived", len(want)), func() bool {
		got := w.bodies()
		for body := range want {
			if got[body] == 0 {
				return false
			}
		}
		return true
	})
	for body, times := range w.bodies() {
		if body != "before" && body != "after" && times != want[body] {
			w.t.Errorf("%s arrived %d times, want %d", body, times, want[body])
		}
	}
}

// checkAscending checks that the numbers of each message group ascend, as Postgres prints them in
// the bodies.
func checkAscending(t *testing.T, receipts []fakeaws.Receipt) {
	t.Helper()
	last := map[string]int{}
	for _, r := range receipts {
		var n int
		if _, err := fmt.Sscanf(r.Body, `{"n" : %d}`, &n); err != nil || n <= last[r.GroupID] {
			t.Fatalf("group %s: %s after %d, %v", r.GroupID, r.Body, last[r.GroupID], err)
		}
		last[r.GroupID] = n
	}
}
