package fakeaws

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// Match says which requests a fault concerns. The zero Match concerns every request.
type Match struct {
	Action      string // for example "PublishBatch"; empty: any
	Destination string // name of the queue or topic; empty: any
	// Entry picks messages: the request is concerned if it sends one of them, and the faults of single entries concern
	// these alone. nil: all of them.
	Entry func(*Message) bool
	After int // so many requests that match pass first
	Times int // so many are concerned then; 0: all, until the rule is cleared
}

// Rule is a part of the script: what happens to which requests.
type Rule struct {
	script *script
	match  Match
	faults []Fault
	seen   int           // requests that matched
	hits   int           // requests that were concerned
	hit    chan struct{} // closed when hits changes
}

// script holds the rules of a server in the order in which they were added.
type script struct {
	active atomic.Bool // whether there are rules; spares other requests the lock
	mu     sync.Mutex
	rules  []*Rule
}

// Script has faults happen to the requests that match, together and in this order, until the rule is cleared or used up.
// A request is concerned by every rule that it matches.
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

// Clear ends the rule. Requests that hang because of it go on hanging until their client gives up.
func (r *Rule) Clear() {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	r.script.rules = slices.DeleteFunc(r.script.rules, func(other *Rule) bool { return other == r })
	r.script.active.Store(len(r.script.rules) > 0)
}

// Hits returns how many requests the rule has concerned.
func (r *Rule) Hits() int {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	return r.hits
}

// AwaitHits returns when the rule has concerned n requests, or ctx is done.
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

// plan returns what happens to c, or nil if nothing does.
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

// early returns what ends the next request before it is read, or nil.
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

// concerns reports whether c is concerned, and which of its entries are. It counts. The caller holds the script's mu.
func (r *Rule) concerns(c *call) (entries []bool, concerned bool) {
	if r.match.Action != "" && r.match.Action != c.action || r.match.Destination != "" && r.match.Destination != c.destination {
		return nil, false
	}
	entries, any := r.pick(c)
	if r.match.Entry != nil && !any {
		return nil, false
	}
	return entries, r.counts()
}

// counts counts a request that matches, and reports whether it is concerned. The caller holds the script's mu.
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

// plan is what happens to one request. The nil plan is nothing.
type plan struct{ faults []planned }

// planned is a fault with the entries it concerns.
type planned struct {
	Fault
	entries []bool
}

// exchange is a request that is being served.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	isSQS  bool
	call   *call
	header http.Header
	size   int // bytes of its body
}

// before reports whether the request has ended before it was performed.
func (p *plan) before(ctx context.Context, x exchange) (ended bool) {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.faults, func(f planned) bool { return f.before != nil && f.before(ctx, x) })
}

// after reports whether the request has ended, performed but without its answer a.
func (p *plan) after(ctx context.Context, x exchange, a answer) (ended bool) {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.faults, func(f planned) bool { return f.after != nil && f.after(ctx, x, a) })
}

// entryFailure returns how entry i fails, or nil.
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

// edit changes what the answer says about the entries.
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
