package delivery

import (
	"math/rand/v2"
	"time"
)

// Options say how a destination is served.
type Options struct {
	// InFlight is how many requests may be under way at once.
	InFlight int
	// MaxRate is how many requests may start in a second. Zero: as many as the destination takes.
	MaxRate int
	// EagerInFlight is how many requests to all destinations may be under way before further ones wait until their batch is full. Few keep
	// the delay short when little comes; full batches keep the number of requests low when much does.
	EagerInFlight int
	// Linger is how long a batch that is not full waits for more. Zero sends at once.
	Linger time.Duration
	// GroupBatches lets a batch to a FIFO destination hold several events of one message group. It is faster for few
	// large groups, and a request that fails in part may reorder them.
	GroupBatches bool
	// OnRejected says what becomes of an event that its destination will never take.
	OnRejected Policy
	// ParkAfter is how long a destination may take nothing before its events are parked without being sent, all but those
	// that find out whether it is back. Zero: they wait, and hold back the other destinations once the window is full.
	ParkAfter time.Duration
	// Backoff is between attempts.
	Backoff Backoff
}

// Policy says what becomes of an event that its destination will never take.
type Policy string

// The policies.
const (
	// ParkDefault is ParkAggregate on FIFO destinations and Park on others.
	ParkDefault Policy = ""
	// Park parks the event; later ones of its group flow on.
	Park Policy = "park"
	// ParkAggregate parks the event, and later ones of its group behind it until it is redriven or discarded. Where a
	// batch holds several events of a group, those that the destination took in the same request are delivered.
	ParkAggregate Policy = "park-aggregate"
	// Halt stops the relay.
	Halt Policy = "halt"
)

// Backoff grows from Min by doubling up to Max.
type Backoff struct {
	Min, Max time.Duration
}

// after returns how long to wait after n failures in a row: between half and the whole of the grown time, so that many
// relays do not come back at the same moment.
func (b Backoff) after(n int) time.Duration {
	wait := b.Max
	if n <= 20 { // beyond, doubling would overflow before it is capped
		wait = min(b.Max, b.Min<<(n-1))
	}
	return wait/2 + rand.N(wait/2+1)
}
