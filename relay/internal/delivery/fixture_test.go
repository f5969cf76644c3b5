package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// fixture is a running Delivery in a bubble of time, in which nothing takes longer than a test
// says.
type fixture struct {
	t        *testing.T
	options  delivery.Options
	sinks    []*memorySink
	tracker  *checkpoint.Tracker
	delivery *delivery.Delivery
	lease    lease
	parker   parker
	tally    tally
	observer delivery.Observer // tally, unless a test has one of its own
	log      strings.Builder

	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended is closed
}

// run gives test a fixture with a destination for each of limits, in a bubble of time.
func run(t *testing.T, limits []sink.Limits, test func(*fixture), change ...func(*fixture, []delivery.Destination)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newFixture(t, limits, change)
		test(r)
		r.stop()
	})
}

func newFixture(t *testing.T, limits []sink.Limits, change []func(*fixture, []delivery.Destination)) *fixture {
	r := &fixture{
		t: t,
		options: delivery.Options{
			InFlight: 4, EagerInFlight: 2,
			Backoff: delivery.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second},
		},
		tracker: checkpoint.NewTracker(checkpoint.Window{Events: 10_000, Bytes: 1 << 30}, checkpoint.Position{}),
		tally:   tally{count: map[string]int{}},
		ended:   make(chan struct{}),
	}
	var destinations []delivery.Destination
	for i, l := range limits {
		s := &memorySink{limits: l, script: takeAll}
		r.sinks = append(r.sinks, s)
		destinations = append(destinations, delivery.Destination{Name: string(rune('A' + i)), Sink: s})
	}
	r.observer = &r.tally
	for _, f := range change {
		f(r, destinations)
	}
	r.delivery = delivery.New(destinations, r.options, delivery.Deps{
		Tracker: r.tracker, Lease: &r.lease, Parker: &r.parker, Observer: r.observer,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() {
		defer close(r.ended)
		r.err = r.delivery.Run(ctx)
	}()
	return r
}

// one is a single destination.
func one(limits sink.Limits) []sink.Limits { return []sink.Limits{limits} }

// policy sets the policy for refused events.
func policy(p delivery.Policy) func(*fixture, []delivery.Destination) {
	return func(r *fixture, _ []delivery.Destination) { r.options.OnRejected = p }
}

// together makes the next events share a batch.
func together(r *fixture, _ []delivery.Destination) { r.options.Linger = time.Millisecond }

// event returns an event of the group that its id begins with: a1 is the first of group a.
func event(id string) *delivery.Event {
	return &delivery.Event{Message: sink.Message{
		EventID: id, Body: `{"id":"` + id + `"}`, GroupID: id[:1], DeduplicationID: id,
	}}
}

// send hands events to a destination.
func (r *fixture) send(destination int, events ...*delivery.Event) {
	for _, e := range events {
		e.Handle = r.tracker.Open(e.Message.EventID, 1)
		r.delivery.Send(destination, e)
	}
	synctest.Wait()
}

func (r *fixture) sendIDs(destination int, ids string) {
	for _, id := range strings.Fields(ids) {
		r.send(destination, event(id))
	}
}

// elapse advances the time and waits for everything that happens by then.
func (r *fixture) elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// stop ends Run and returns its error.
func (r *fixture) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// expectEnd waits until Run has ended by itself, with want.
func (r *fixture) expectEnd(want error) {
	r.t.Helper()
	synctest.Wait()
	select {
	case <-r.ended:
	default:
		r.t.Fatal("Run continues")
	}
	if !errors.Is(r.err, want) {
		r.t.Errorf("Run ended with %v, want %v", r.err, want)
	}
}

func (r *fixture) expectOpen(want int) {
	r.t.Helper()
	if got := r.tracker.Load().Events; got != want {
		r.t.Errorf("%d events are open, want %d", got, want)
	}
}

// byGroup sorts ids by their group and keeps their order within it. The order between groups is not
// promised.
func byGroup(ids []string) string {
	sorted := slices.SortedStableFunc(slices.Values(ids),
		func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	return strings.Join(sorted, " ")
}

func (r *fixture) expectTaken(destination int, want string) {
	r.t.Helper()
	s := r.sinks[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(byGroup(strings.Fields(want)), byGroup(s.taken)); diff != "" {
		r.t.Errorf("taken by the destination (-want +got):\n%s", diff)
	}
}

func (r *fixture) expectRequests(destination int, want ...string) {
	r.t.Helper()
	s := r.sinks[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.requests); diff != "" {
		r.t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func (r *fixture) expectParked(want string) {
	r.t.Helper()
	r.parker.mu.Lock()
	defer r.parker.mu.Unlock()
	var got []string
	for _, p := range r.parker.parked {
		got = append(got, p.Message.EventID)
	}
	if diff := cmp.Diff(byGroup(strings.Fields(want)), byGroup(got)); diff != "" {
		r.t.Fatalf("parked (-want +got):\n%s", diff)
	}
}
