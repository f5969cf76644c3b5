package bench

import (
	"sync"

	"golang.org/x/time/rate"
)

// Quota limits requests with a token bucket, as AWS does, and counts its decisions.
type Quota struct {
	limiter *rate.Limiter

	mu     sync.Mutex
	counts QuotaCounts
}

// QuotaCounts are the requests that a Quota accepted and refused.
type QuotaCounts struct{ Accepted, Refused int }

// NewQuota returns a quota with a full bucket.
func NewQuota(perSecond float64, burst int) *Quota {
	return &Quota{limiter: rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// Allow reports whether the quota accepts a request now.
func (q *Quota) Allow() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limiter.Allow() {
		q.counts.Accepted++
		return true
	}
	q.counts.Refused++
	return false
}

// SetRate changes the rate from now on.
func (q *Quota) SetRate(perSecond float64) { q.limiter.SetLimit(rate.Limit(perSecond)) }

// Counts returns the counts so far.
func (q *Quota) Counts() QuotaCounts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts
}
