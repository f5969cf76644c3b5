// Package tokenbucket counts requests against a quota as AWS does: a bucket that fills evenly and holds a burst.
package tokenbucket

import (
	"sync"
	"time"
)

// Bucket is a token bucket. It may be used by several goroutines.
type Bucket struct {
	mu        sync.Mutex
	perSecond float64
	burst     float64
	tokens    float64
	filled    time.Time
	counts    Counts
}

// Counts are the requests that a Bucket had a token for, and those that it had none for.
type Counts struct{ Taken, Refused int }

// New returns a full bucket.
func New(perSecond, burst float64) *Bucket {
	return &Bucket{perSecond: perSecond, burst: burst, tokens: burst, filled: time.Now()}
}

// Take takes a token, and reports whether there was one.
func (b *Bucket) Take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.tokens < 1 {
		b.counts.Refused++
		return false
	}
	b.tokens--
	b.counts.Taken++
	return true
}

// SetRate changes how fast the bucket fills from now on.
func (b *Bucket) SetRate(perSecond float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.perSecond = perSecond
}

// Counts returns the requests so far.
func (b *Bucket) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

// fill adds the tokens of the time since it was called last. b.mu is held.
func (b *Bucket) fill() {
	now := time.Now()
	b.tokens = min(b.burst, b.tokens+b.perSecond*now.Sub(b.filled).Seconds())
	b.filled = now
}
