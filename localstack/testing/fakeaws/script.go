package fakeaws

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// Match selects requests. The zero Match selects every request.
type Match struct {
	Action      string // for example "PublishBatch"; empty: any
	Destination string // name of the queue, topic or event bus; empty: any
	// Entry selects messages. A request matches if it sends such a message, and faults of single
	// entries apply only to these. nil selects every message.
	Entry func(*Message) bool
	After int // number of matching requests that pass first
	Times int // number of requests to which the rule then applies; 0: no limit
}

// Rule is one rule of the script: the faults of the requests that match.
type Rule struct {
	script *script
	match  Match
	faults []Fault
	seen   int           // matching requests
	hits   int           // requests to which the rule applied
	hit    chan struct{} // closed when hits changes
}

// script holds the rules of a server in the order of their addition.
type script struct {
	active atomic.Bool // whether rules exist; spares other requests the lock
	mu     sync.Mutex
	rules  []*Rule
}

// Script adds a rule: the faults apply to matching requests, together and in this order, until the
// rule is cleared or used up. A request can match several rules.
func (s *Server) Script(match Match, faults ...Fault) *Rule {
	r := &Rule{script: &s.script, match: match, faults: faults, hit: make(chan struct{})}
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.rules = append(s.script.rules, r)
	s.script.active.Store(true)
	return r
}

// ClearScript clears every rule.
func (s *Server) ClearScript() {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.rules = nil
	s.script.active.Store(false)
}

// Clear ends the rule. A request that hangs because of it continues to hang until its client gives
// up.
func (r *Rule) Clear() {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	r.script.rules = slices.DeleteFunc(r.script.rules, func(other *Rule) bool { return other == r })
	r.script.active.Store(len(r.script.rules) > 0)
}

// Hits returns the number of requests to which the rule applied.
func (r *Rule) Hits() int {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	return r.hits
}

// AwaitHits returns when the rule has applied to n requests, or when ctx is done.
func (r *Rule) AwaitHits(ctx context.Context, n int) error {
	for {
		r.script.mu.Lock()
		hits, hit := r.hits, r.hit
		r.script.mu.Unlock()
		if hits >= n {
			return nil
		}
		select {
		case <-hit:
		case <-ctx.Done():
			return fmt.Errorf("await %d hits of a scripted fault, of which %d happened: %w", n, hits, ctx.Err())
		}
	}
}

// plan returns the faults of c, or nil.
func (s *script) plan(c *call) *plan {
	if !s.active.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var p *plan
	for _, r := range s.rules {
		if r.early() != nil { // has had its turn
			continue
		}
		concerned, ok := r.concerns(c)
		if !ok {
			continue
		}
		if p == nil {
			p = &plan{}
		}
		for _, fault := range r.faults {
			p.faults = append(p.faults, planned{fault, concerned})
		}
	}
	return p
}

// early returns the fault that ends the next request before it is read, or nil.
func (s *script) early() func(http.ResponseWriter, *http.Request) {
	if !s.active.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if end := r.early(); end != nil && r.counts() {
			return end
		}
	}
	return nil
}

// early returns the fault of the rule that comes before a request is read, or nil.
func (r *Rule) early() func(http.ResponseWriter, *http.Request) {
	for _, f := range r.faults {
		if f.early != nil {
			return f.early
		}
	}
	return nil
}

// concerns reports whether the rule applies to c, and to which of its entries. It counts the
// request. The caller holds the script's mu.
func (r *Rule) concerns(c *call) (entries []bool, concerned bool) {
	if r.match.Action != "" && r.match.Action != c.action || r.match.Destination != "" &&
		r.match.Destination != c.destination {
		return nil, false
	}
	entries, any := r.pick(c)
	if r.match.Entry != nil && !any {
		return nil, false
	}
	return entries, r.counts()
}

// counts counts a request that matches, and reports whether it is concerned. The caller holds the
// script's mu.
func (r *Rule) counts() bool {
	r.seen++
	if r.seen <= r.match.After || r.match.Times > 0 && r.hits >= r.match.Times {
		return false
	}
	r.hits++
	close(r.hit)
	r.hit = make(chan struct{})
	return true
}

func (r *Rule) pick(c *call) (entries []bool, any bool) {
	if c.batch == nil {
		return nil, false
	}
	entries = make([]bool, len(c.batch.entries))
	for i := range entries {
		entries[i] = r.match.Entry == nil || r.match.Entry(&c.batch.entries[i].message)
		any = any || entries[i]
	}
	return entries, any
}

// plan holds the faults of one request. A nil plan is empty.
type plan struct{ faults []planned }

// planned is a fault with the matching entries.
type planned struct {
	Fault
	entries []bool
}

// exchange is a request in progress.
type exchange struct {
	server  *Server
	w       http.ResponseWriter
	service service
	call    *call
	header  http.Header
	size    int // bytes of its body
}

// before reports whether a fault ended the request before it was performed.
func (p *plan) before(ctx context.Context, x exchange) (ended bool) {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.faults, func(f planned) bool { return f.before != nil && f.before(ctx, x) })
}

// after reports whether a fault ended the request after it was performed, without its answer a.
func (p *plan) after(ctx context.Context, x exchange, a answer) (ended bool) {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.faults, func(f planned) bool { return f.after != nil && f.after(ctx, x, a) })
}

// entryFailure returns the error of entry i, or nil.
func (p *plan) entryFailure(i int) *apiError {
	if p == nil {
		return nil
	}
	for _, f := range p.faults {
		if f.failure != nil && f.entries[i] {
			return f.failure
		}
	}
	return nil
}

// edit applies the faults that change the answer.
func (p *plan) edit(results []result) []result {
	if p == nil {
		return results
	}
	for _, f := range p.faults {
		if f.edit == nil {
			continue
		}
		var edited []result
		for i, r := range results {
			if i >= len(f.entries) || !f.entries[i] {
				edited = append(edited, r)
				continue
			}
			edited = append(edited, f.edit(r)...)
		}
		results = edited
	}
	return results
}
