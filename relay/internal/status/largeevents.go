package status

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// LargeEvents says why the large events of a destination wait for their bucket.
type LargeEvents struct {
	Since    time.Time `json:"since"`    // of the first failure since the bucket accepted a body
	Failures int       `json:"failures"` // since then
	Code     string    `json:"code"`     // of the last failure
	Error    string    `json:"error"`
}

// unstored counts the bodies of a destination that the bucket has not accepted since it accepted
// one. Requests of other events do not reset it, because they need no bucket.
type unstored struct {
	since  time.Time // of the first failure
	failed int
	last   failure
}

// report returns nil while the bucket accepts bodies. A single failure does not count.
func (u *unstored) report(now time.Time) *LargeEvents {
	if u.failed == 0 || now.Sub(u.since) < troubleAfter {
		return nil
	}
	return &LargeEvents{Since: u.since, Failures: u.failed, Code: u.last.code, Error: u.last.err}
}

// Stored implements [delivery.LargeEventObserver].
func (d *Destinations) Stored(name string, bodies, bytes int) {
	d.Observer.Stored(name, bodies, bytes)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of(name).unstored = unstored{}
}

// Unstored implements [delivery.LargeEventObserver].
func (d *Destinations) Unstored(name string, bodies int, err error) {
	d.Observer.Unstored(name, bodies, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	u := &d.of(name).unstored
	if u.failed == 0 {
		u.since = time.Now()
	}
	u.failed += bodies
	u.last = failure{code: sink.Code(err), err: shorten(err.Error())}
}

// largeEventsWait returns how long the first of these destinations has waited for the bucket.
func largeEventsWait(destinations []Destination, now time.Time) (longest time.Duration) {
	for _, d := range destinations {
		if d.LargeEvents != nil {
			longest = max(longest, now.Sub(d.LargeEvents.Since))
		}
	}
	return longest
}
