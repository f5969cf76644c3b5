package chaos

import (
	"strings"
	"sync"
	"time"
)

// refusals are the findings with which relays may end by themselves while a fault lasts that an
// operator has to undo, and shortly afterwards.
type refusals struct {
	mu    sync.Mutex
	until map[string]time.Duration
}

// allow allows relays to end with a finding until a time.
func (r *refusals) allow(finding string, until time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Duration{}
	}
	r.until[finding] = until
}

// allows reports whether a relay may end with this error at a time.
func (r *refusals) allows(lastError string, at time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for finding, until := range r.until {
		if at < until && strings.Contains(lastError, finding) {
			return true
		}
	}
	return false
}

// hasRefused reports whether p ended with the finding of a fault. A relay that finds it right
// before it is stopped ends with the finding too, and not with status 0.
func (r *run) hasRefused(p *relay) bool { return r.refusals.allows(p.log.lastError(), r.clock()) }
