// Package pacer finds the rate at which a destination accepts requests, and spaces the requests of
// the relay by it.
//
// AWS limits requests with token buckets. A bucket that refuses a request is empty. So the requests
// that it accepted between two refusals, divided by the time between them, are the rate at which it
// fills, however large its burst is. [Pacer] measures that rate. It sends slightly below the
// measured rate, and raises its own rate slowly until the next refusal. The longer no refusal
// comes, the faster it raises the rate.
package pacer

import (
	"math"
	"time"
)

// Outcome is the result of a request.
type Outcome uint8

// The outcomes.
const (
	Other     Outcome = iota // a failure that says nothing about the rate, or no request at all
	Accepted                 // the destination accepted at least one event
	Throttled                // the destination throttled the request and accepted nothing
)

const (
	// slack is how much of the schedule a late timer may catch up.
	slack = 25 * time.Millisecond
	// worksFor is how long a destination that accepted a request counts as available, however many
	// requests it refuses.
	worksFor = 5 * time.Second
	// remembered is how long a rate is kept after the last refusal.
	remembered = 5 * time.Minute

	// fairGain makes the rate grow by this times its square root in a second. Every refusal costs a
	// share of the rate, so of two relays on one quota the slower one gains on the faster one.
	fairGain = 0.5
	// mostGrowth and mostHaste bound the growth, as a share of the rate in a second: at first, and
	// after patience.
	mostGrowth = 0.04
	mostHaste  = 0.5
	// patience is how long the rate grows evenly without a refusal. Then its growth doubles each
	// hasteDoubles.
	patience     = 2 * time.Second
	hasteDoubles = time.Second
	// slow is the rate below which measuring and growing take longer, so that they see as many
	// requests.
	slow = 30
)

// Pacer paces the requests to one destination. It is a plain state machine without clock, lock or
// goroutine. Until the destination refuses a request, it counts requests and delays none.
type Pacer struct {
	limit float64 // the operator's, in requests a second; zero without one
	rate  float64 // the destination's, in requests a second; zero while it refuses nothing
	known float64 // the last measured rate

	next       time.Time // when the next request may start
	sentAt     time.Time // when the last one started
	delayed    bool      // since when a request waits for its turn
	inFlight   int       // requests
	acceptedAt time.Time
	refusedAt  time.Time
	quiet      float64 // seconds in which requests waited for their turn and none was refused

	recent    recent
	searching bool // for the first rate
	falling   bool // while searching: the destination accepted nothing at the last rate
	measure   measurement
}

// New returns a Pacer that sends at most limit requests a second. Zero is no limit.
func New(limit float64) Pacer { return Pacer{limit: limit} }

// Rate returns how many requests a second may be sent, or zero without a limit.
func (p *Pacer) Rate() float64 {
	if p.limit > 0 && (p.rate == 0 || p.rate > p.limit) {
		return p.limit
	}
	return p.rate
}

// Throttled reports whether the destination limits the rate.
func (p *Pacer) Throttled() bool { return p.rate > 0 }

// Searching reports whether the rate of a throttled destination is not measured yet.
func (p *Pacer) Searching() bool { return p.searching }

// Works reports whether the destination accepted a request recently. A refusal then means
// throttling, and not an outage.
func (p *Pacer) Works(now time.Time) bool { return now.Sub(p.acceptedAt) < worksFor }

// Next returns when the waiting request may start. It may start at once if that is not after now.
func (p *Pacer) Next(now time.Time) time.Time {
	if p.Rate() == 0 {
		return now
	}
	p.delayed = p.delayed || p.next.After(now)
	return p.next
}

// Forget drops the rate of a destination that has refused nothing for a long time.
func (p *Pacer) Forget(now time.Time) {
	if p.rate > 0 && !p.Expires().After(now) {
		p.rate, p.searching = 0, false
	}
}

// Expires returns when [Pacer.Forget] drops the rate unless the destination refuses a request
// before.
func (p *Pacer) Expires() time.Time { return p.refusedAt.Add(remembered) }

// Sent records that a request starts.
func (p *Pacer) Sent(now time.Time) {
	p.inFlight++
	rate := p.Rate()
	if rate == 0 {
		return
	}
	behind := now.Add(-slack)
	switch {
	case p.next.Before(behind):
		p.next, p.measure.unused = behind, true
	case p.delayed && p.rate == rate && !p.searching:
		p.grow(now)
	}
	p.next = p.next.Add(time.Duration(float64(time.Second) / rate))
	p.sentAt, p.delayed = now, false
}

// grow raises the rate after requests have used all of it since the last one. If the destination
// refuses nothing at a fraction of an earlier rate, it was unavailable in between, and a search
// finds the rate faster.
func (p *Pacer) grow(now time.Time) {
	if p.rate < p.known/2 && now.Sub(p.refusedAt) > patience {
		p.known /= 4 // otherwise a quota that has really become so small is searched forever
		p.search(p.rate, now)
		return
	}
	used := min(now.Sub(p.sentAt), time.Second).Seconds() / p.scale()
	p.quiet += used
	growth := min(fairGain/math.Sqrt(p.rate), mostGrowth)
	if haste := p.quiet - patience.Seconds(); haste > 0 {
		growth = min(growth*math.Exp2(haste/hasteDoubles.Seconds()), mostHaste)
	}
	p.rate += p.rate * growth * used
}

// scale is the factor by which everything takes longer with a slow destination.
func (p *Pacer) scale() float64 { return max(1, slow/p.rate) }

// Done records the outcome of a request.
func (p *Pacer) Done(outcome Outcome, now time.Time) {
	p.inFlight--
	switch outcome {
	case Accepted:
		p.acceptedAt = now
	case Throttled:
		p.refused(now)
	}
	switch {
	case p.rate == 0:
		p.recent.add(outcome, now)
	case p.measure.stale > 0:
		p.measure.skip(now)
	default:
		p.measure.add(outcome)
		p.judge(outcome, now)
	}
}

// refused begins a search if there is no rate, or if the destination accepts nothing at the current
// one.
func (p *Pacer) refused(now time.Time) {
	p.refusedAt, p.quiet = now, 0
	switch {
	case p.rate == 0:
		p.known = max(firstRate, p.recent.perSecond())
		p.search(p.known, now)
		p.next, p.sentAt = now, now
	case !p.Works(now) && !p.searching:
		p.search(leastRate, now)
	}
}
