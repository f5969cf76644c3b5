package delivery_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

var (
	fifo     = sink.Limits{FIFO: true, MaxMessageBytes: 1000, MaxBatchBytes: 1000}
	standard = sink.Limits{MaxMessageBytes: 1000, MaxBatchBytes: 1000}

	errAway    = &sink.BrokerError{Code: "ServiceUnavailable", Reason: "try again"}
	errRefused = &sink.RejectedError{Code: "InvalidMessageContents", Reason: "no"}
	errNoStore = errors.New("the database does not answer")
	errHolder  = errors.New("another relay may hold the slot")
)

// answer is what a destination says to a request.
type answer func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error)

// memorySink is a destination in memory that answers as its script says.
type memorySink struct {
	limits sink.Limits

	mu       sync.Mutex
	script   answer
	requests []string       // the ids of each, in order
	sent     []sink.Message // of all requests
	taken    []string       // ids that were answered with success, in order
}

func (s *memorySink) Limits() sink.Limits { return s.limits }

func (s *memorySink) Publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	s.mu.Lock()
	var ids []string
	for _, m := range batch {
		ids = append(ids, m.EventID)
		s.sent = append(s.sent, *m)
	}
	s.requests = append(s.requests, strings.Join(ids, " "))
	script := s.script
	s.mu.Unlock()

	results, err := script(ctx, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range results {
		if err == nil && r.Err == nil {
			s.taken = append(s.taken, ids[i])
		}
	}
	return results, err
}

func (s *memorySink) answers(script answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

func takeAll(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
	return make([]sink.Result, len(batch)), nil
}

func failAll(err error) answer {
	return func(context.Context, []*sink.Message) ([]sink.Result, error) { return nil, err }
}

// hang answers only once the request is cancelled.
func hang(ctx context.Context, _ []*sink.Message) ([]sink.Result, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// after answers like next, and takes its time.
func after(d time.Duration, next answer) answer {
	return func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(d):
			return next(ctx, batch)
		}
	}
}

// failEntry fails one message of a request and takes the others.
func failEntry(id string, err error) answer {
	return func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
		results := make([]sink.Result, len(batch))
		for i, m := range batch {
			if m.EventID == id {
				results[i].Err = err
			}
		}
		return results, nil
	}
}

// failRequestsWith fails every request that has one message in it.
func failRequestsWith(id string, err error) answer {
	return func(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
		if slices.ContainsFunc(batch, func(m *sink.Message) bool { return m.EventID == id }) {
			return nil, err
		}
		return make([]sink.Result, len(batch)), nil
	}
}

// parker keeps what it is given, or fails.
type parker struct {
	mu     sync.Mutex
	err    error
	parked []delivery.Parked
}

func (p *parker) Park(_ context.Context, parked delivery.Parked) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.parked = append(p.parked, parked)
	}
	return p.err
}

// holder says what it is set to.
type holder struct {
	mu  sync.Mutex
	err error
}

func (h *holder) MayPublish() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *holder) set(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// tally counts what an observer is told.
type tally struct {
	mu      sync.Mutex
	count   map[string]int
	slowest time.Duration // from commit to delivered
}

func (c *tally) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[key]++
}

func (c *tally) Requested(destination string, _ int, _ time.Duration, err error) {
	c.add("requested " + destination + " " + sink.Code(err))
}
func (c *tally) Retried(destination, code string) { c.add("retried " + destination + " " + code) }
func (c *tally) Parked(destination, code string)  { c.add("parked " + destination + " " + code) }
func (c *tally) Delivered(destination string, sinceCommit time.Duration) {
	c.add("delivered " + destination)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowest = max(c.slowest, sinceCommit)
}

// rig is a running Delivery in a bubble of time: nothing in it takes longer than a test says.
type rig struct {
	t        *testing.T
	options  delivery.Options
	sinks    []*memorySink
	tracker  *checkpoint.Tracker
	delivery *delivery.Delivery
	holder   holder
	parker   parker
	tally    tally
	log      strings.Builder

	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended is closed
}

// run gives test a rig with a destination for each of limits, in a bubble of time.
func run(t *testing.T, limits []sink.Limits, test func(*rig), change ...func(*rig, []delivery.Destination)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, limits, change)
		test(r)
		r.stop()
	})
}

func newRig(t *testing.T, limits []sink.Limits, change []func(*rig, []delivery.Destination)) *rig {
	r := &rig{
		t: t,
		options: delivery.Options{
			InFlight: 4, EagerInFlight: 2, Backoff: delivery.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second},
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
	for _, f := range change {
		f(r, destinations)
	}
	r.delivery = delivery.New(destinations, r.options, delivery.Deps{
		Tracker: r.tracker, Holder: &r.holder, Parker: &r.parker, Observer: &r.tally,
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

// event returns an event of the group that its id begins with: a1 is the first of group a.
func event(id string) *delivery.Event {
	return &delivery.Event{Message: sink.Message{
		EventID: id, Body: `{"id":"` + id + `"}`, GroupID: id[:1], DeduplicationID: id,
	}}
}

// send hands events to a destination.
func (r *rig) send(destination int, events ...*delivery.Event) {
	for _, e := range events {
		e.Handle = r.tracker.Open(e.Message.EventID, 1)
		r.delivery.Send(destination, e)
	}
	synctest.Wait()
}

func (r *rig) sendIDs(destination int, ids string) {
	for _, id := range strings.Fields(ids) {
		r.send(destination, event(id))
	}
}

// elapse lets time pass and everything happen that happens by then.
func (r *rig) elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// stop ends Run and returns its error.
func (r *rig) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// expectEnd waits until Run has ended by itself, with want.
func (r *rig) expectEnd(want error) {
	r.t.Helper()
	synctest.Wait()
	select {
	case <-r.ended:
	default:
		r.t.Fatal("Run goes on")
	}
	if !errors.Is(r.err, want) {
		r.t.Errorf("Run ended with %v, want %v", r.err, want)
	}
}

func (r *rig) expectOpen(want int) {
	r.t.Helper()
	if got := r.tracker.Load().Events; got != want {
		r.t.Errorf("%d events are open, want %d", got, want)
	}
}

// byGroup sorts ids by their group and leaves their order within it: that between groups is not promised.
func byGroup(ids []string) string {
	sorted := slices.SortedStableFunc(slices.Values(ids), func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	return strings.Join(sorted, " ")
}

func (r *rig) expectTaken(destination int, want string) {
	r.t.Helper()
	s := r.sinks[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(byGroup(strings.Fields(want)), byGroup(s.taken)); diff != "" {
		r.t.Errorf("taken by the destination (-want +got):\n%s", diff)
	}
}

func (r *rig) expectRequests(destination int, want ...string) {
	r.t.Helper()
	s := r.sinks[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.requests); diff != "" {
		r.t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func (r *rig) expectParked(want string) {
	r.t.Helper()
	r.parker.mu.Lock()
	defer r.parker.mu.Unlock()
	var got []string
	for _, p := range r.parker.parked {
		got = append(got, p.Message.EventID)
	}
	if diff := cmp.Diff(byGroup(strings.Fields(want)), byGroup(got)); diff != "" {
		r.t.Errorf("parked (-want +got):\n%s", diff)
	}
}
