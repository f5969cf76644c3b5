package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

var (
	fifo     = sink.Limits{FIFO: true, MaxMessageBytes: 1000, MaxBatchBytes: 1000}
	standard = sink.Limits{MaxMessageBytes: 1000, MaxBatchBytes: 1000}

	errUnavailable = sink.RequestError(503, "ServiceUnavailable", "try again", nil)
	errRefused     = &sink.RejectedError{Code: "InvalidMessageContents", Reason: "no"}
	errNoStore     = errors.New("the database does not answer")
	errLease       = errors.New("another relay may hold the slot")
)

// answer is the response of a destination to a request.
type answer func(ctx context.Context, batch []*sink.Message) ([]sink.Result, error)

// memorySink is a destination in memory that answers by its script.
type memorySink struct {
	limits    sink.Limits
	forgetful bool // it keeps nothing

	mu       sync.Mutex
	script   answer
	requests []string       // the ids of each, in order
	sent     []sink.Message // of all requests
	taken    []string       // ids that were answered with success, in order

	now        sink.Limits // found by the next read; zero: unchanged
	unreadable error       // of a read
	reads      int         // of limits
}

func (s *memorySink) Limits() sink.Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits
}

func (s *memorySink) ReadLimits(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.unreadable != nil {
		return s.unreadable
	}
	if s.now != (sink.Limits{}) {
		s.limits = s.now
	}
	return nil
}

func (s *memorySink) Publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	s.mu.Lock()
	if s.forgetful {
		script := s.script
		s.mu.Unlock()
		return script(ctx, batch)
	}
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

// parker stores dead letters, or fails.
type parker struct {
	mu       sync.Mutex
	err      error
	parked   []delivery.DeadLetter
	redriven []int64
	free     bool   // no group is blocked
	again    string // event that has a dead letter
}

func (p *parker) IsRedriving(context.Context, *delivery.DeadLetter) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return true, p.err
}

func (p *parker) IsParked(_ context.Context, letter delivery.DeadLetter) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return letter.Message.EventID == p.again, p.err
}

func (p *parker) Redriven(_ context.Context, position int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.redriven = append(p.redriven, position)
	return p.err
}

func (p *parker) IsBlocked(context.Context, string, string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.free, p.err
}

func (p *parker) IsBehind(_ context.Context, _, _ string, seq int64) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.free && slices.ContainsFunc(p.parked, func(letter delivery.DeadLetter) bool {
		parked, err := letter.Row.Seq()
		return err != nil || parked <= seq
	}), p.err
}

func (p *parker) Park(_ context.Context, parked delivery.DeadLetter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		message := *parked.Message // valid during the call
		parked.Message = &message
		p.parked = append(p.parked, parked)
	}
	return p.err
}

// lease returns the error that a test sets.
type lease struct {
	mu  sync.Mutex
	err error
}

func (h *lease) MayPublish() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *lease) set(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// tally counts the observer's calls.
type tally struct {
	mu      sync.Mutex
	count   map[string]int
	slowest time.Duration // from commit to delivered

	rate      float64 // of the last destination that reported a rate
	throttled bool
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
func (c *tally) Paced(_ string, rate float64, throttled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate, c.throttled = rate, throttled
}

func (c *tally) Paused(string, bool) {}

func (c *tally) Stored(destination string, bodies, bytes int) {
	c.add(fmt.Sprintf("stored %s %d of %d bytes", destination, bodies, bytes))
}

func (c *tally) Unstored(destination string, bodies int, err error) {
	c.add(fmt.Sprintf("unstored %s %d %s", destination, bodies, sink.Code(err)))
}

func (c *tally) Redriven(destination string) { c.add("redriven " + destination) }
func (c *tally) Replayed(destination, code string) {
	c.add(strings.TrimSpace("replayed " + destination + " " + code))
}

func (c *tally) Dropped(events int) {
	for range events {
		c.add("dropped")
	}
}

func (c *tally) HeadersDropped(headers int) {
	for range headers {
		c.add("header dropped")
	}
}

func (c *tally) Delivered(destination string, sinceCommit []time.Duration) {
	for _, age := range sinceCommit {
		c.add("delivered " + destination)
		c.mu.Lock()
		c.slowest = max(c.slowest, age)
		c.mu.Unlock()
	}
}
