package fakeaws

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Quota is a limit of requests a second, with a bucket of tokens for each destination, as AWS has
// one for each queue and action. The limit can change at any time. Its methods may be called at the
// same time.
type Quota struct {
	now func() time.Time

	mu      sync.Mutex
	rate    float64 // requests a second; 0: no limit
	burst   float64
	buckets map[string]*bucket // by the name of the destination
	taken   int
	refused int
}

// bucket holds the requests that a destination takes at once.
type bucket struct {
	tokens float64
	filled time.Time
}

// NewQuota returns a quota of rate requests a second, of which burst may come at once.
func NewQuota(rate, burst float64) *Quota {
	q := &Quota{now: time.Now, buckets: map[string]*bucket{}}
	q.Set(rate, burst)
	return q
}

// Set changes the limit. A rate of 0 lifts it. A bucket that holds more than the new burst loses
// the rest.
func (q *Quota) Set(rate, burst float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	for _, b := range q.buckets {
		q.fill(b, now)
	}
	q.rate, q.burst = rate, burst
}

// Taken returns how many requests were within the limit. Requests without a limit are not counted.
func (q *Quota) Taken() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken
}

// Refused returns how many requests were above the limit.
func (q *Quota) Refused() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused
}

// take reports whether the destination takes one more request now.
func (q *Quota) take(destination string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rate == 0 {
		return true
	}
	now := q.now()
	b := q.buckets[destination]
	if b == nil {
		b = &bucket{tokens: q.burst, filled: now}
		q.buckets[destination] = b
	}
	q.fill(b, now)
	if b.tokens < 1 {
		q.refused++
		return false
	}
	b.tokens--
	q.taken++
	return true
}

// fill adds the tokens that the bucket gained since the last fill. The caller holds q.mu.
func (q *Quota) fill(b *bucket, now time.Time) {
	b.tokens = min(q.burst, b.tokens+q.rate*now.Sub(b.filled).Seconds())
	b.filled = now
}

// Limit refuses the requests above the quota in the words of AWS. SQS has two of them: the older
// documents and some Regions say RequestThrottled with status 403.
func Limit(q *Quota, older bool) Fault {
	return Fault{before: func(_ context.Context, x exchange) bool {
		if q.take(x.call.destination) {
			return false
		}
		e := &apiError{
			status: http.StatusBadRequest, code: "ThrottlingException", shape: "ThrottlingException",
			message: "Rate exceeded",
		}
		switch {
		case x.service == ofSNS:
			e.code = "Throttling"
		case older && x.service == ofSQS:
			e.status, e.code, e.shape = http.StatusForbidden, "RequestThrottled", "RequestThrottled"
			e.message = "Request is throttled."
		}
		x.server.write(x.w, x.service, x.server.failed(x.service, e))
		return true
	}}
}
