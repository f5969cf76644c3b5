package delivery

import (
	"math/rand/v2"
	"time"
)

// Options configure the delivery to one destination.
type Options struct {
	// InFlight is the maximum number of requests in flight.
	InFlight int
	// MaxRate is the maximum number of requests that start in a second. Zero: as many as the
	// destination accepts.
	MaxRate int
	// EagerInFlight is how many requests to all destinations may be in flight before further ones
	// wait until their batch is full. A few early requests keep the delay short at a low rate. Full
	// batches keep the number of requests low at a high one.
	EagerInFlight int
	// Linger is how long a batch that is not full waits for more events. Zero sends at once.
	Linger time.Duration
	// GroupBatches allows several events of one message group in a batch to a FIFO destination. It
	// is faster for few large groups, and a request that fails in part may reorder them.
	GroupBatches bool
	// OnRejected says how to handle an event that its destination refuses for good.
	OnRejected Policy
	// ParkAfter is how long a destination may be unavailable before its events no longer hold back
	// the other destinations: their rows wait in the outbox table, or they are parked if the table
	// cannot keep them. Single requests still probe the destination. Zero: the events wait in
	// memory, and hold back the other destinations once the window is full.
	ParkAfter time.Duration
	// Backoff is the pause between attempts.
	Backoff Backoff
}

// Policy says how to handle an event that its destination refuses for good.
type Policy string

// The policies.
const (
	// ParkDefault is ParkAggregate on FIFO destinations and Park on others.
	ParkDefault Policy = ""
	// Park parks the event. Later events of its group flow.
	Park Policy = "park"
	// ParkAggregate parks the event, and holds back later events of its group until it is redriven
	// or discarded. They wait in the outbox table, or are parked if the table cannot keep them. If
	// a batch holds several events of a group, those that the destination accepted in the same
	// request are delivered.
	ParkAggregate Policy = "park-aggregate"
	// Halt stops the relay.
	Halt Policy = "halt"
)

// Backoff doubles from Min up to Max.
type Backoff struct {
	Min, Max time.Duration
}

// after returns the pause after n consecutive failures: between half and the whole of the grown
// time, so that many relays do not return at the same moment.
func (b Backoff) after(n int) time.Duration {
	wait := b.Max
	if n <= 20 { // doubling would overflow beyond this
		wait = min(b.Max, b.Min<<(n-1))
	}
	return wait/2 + rand.N(wait/2+1)
}
