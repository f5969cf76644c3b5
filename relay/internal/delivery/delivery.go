package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// stopGrace is how long Run waits for requests in flight when delivery ends. Events that they
// deliver are known to be delivered and not sent again. A server that shuts down must not wait for
// an unavailable broker.
const stopGrace = 2 * time.Second

// Delivery sends events to their destinations.
type Delivery struct {
	deps     Deps
	senders  []*sender
	requests context.Context // context of the requests in flight
	cancel   context.CancelFunc
	wait     sync.WaitGroup
	work     chan work    // for runners that are idle
	inFlight atomic.Int64 // requests of all senders
	endOnce  sync.Once
	ended    chan struct{} // closed when no further request may start
	err      error         // the reason; valid once ended is closed
	spare    eventPool
}

// New returns a Delivery to destinations. It sends nothing before [Delivery.Send].
func New(destinations []Destination, options Options, deps Deps) *Delivery {
	d := &Delivery{deps: deps, work: make(chan work), ended: make(chan struct{})}
	d.requests, d.cancel = context.WithCancel(context.Background())
	for _, destination := range destinations {
		d.senders = append(d.senders, newSender(d, destination, options))
	}
	return d
}

// NewEvent returns an empty event. It reuses the memory of a delivered one if there is any. Its
// Attributes have capacity.
func (d *Delivery) NewEvent() *Event { return d.spare.get() }

// Send hands events to the destination of this index, which owns them afterwards. It does not
// block, because the Tracker's window bounds the open events. The Tracker knows the events already.
// Events of [route.Dropped] are done at once.
func (d *Delivery) Send(destination int, events ...*Event) {
	if destination == route.Dropped {
		d.drop(events)
		return
	}
	d.senders[destination].send(events)
}

// drop counts events that a route leads nowhere, as done.
func (d *Delivery) drop(events []*Event) {
	d.deps.Observer.Dropped(len(events))
	d.HandOver(events)
}

// Hurry sends the batches that are not full, because no further event comes.
func (d *Delivery) Hurry() {
	for _, s := range d.senders {
		s.hurry()
	}
}

// Run blocks until ctx ends or delivery has to stop. Then no further request starts, and those in
// flight have stopGrace to end. Run forgets events that are not delivered: the log still has them.
func (d *Delivery) Run(ctx context.Context) error {
	for _, s := range d.senders {
		d.wait.Add(1)
		go s.watchLimits()
	}
	select {
	case <-ctx.Done():
		d.end(ctx.Err())
	case <-d.ended:
	}
	for _, s := range d.senders {
		s.end()
	}
	grace := time.AfterFunc(stopGrace, d.cancel)
	d.wait.Wait()
	grace.Stop()
	d.cancel()
	return d.err
}

// end makes Run return the first err.
func (d *Delivery) end(err error) {
	d.endOnce.Do(func() {
		d.err = err
		close(d.ended)
	})
}

// mayRequest returns why no further request may start, or nil.
func (d *Delivery) mayRequest() error {
	select {
	case <-d.ended:
		return d.err
	default:
	}
	err := d.deps.Lease.MayPublish()
	if err != nil {
		d.end(err)
	}
	return err
}

// HaltError means that a destination refused an event for good and that the policy is Halt.
type HaltError struct {
	Destination string
	EventID     string
	Cause       *sink.RejectedError
}

func (e *HaltError) Error() string {
	return fmt.Sprintf("destination %s refuses event %s for good: %v. RELAY_ON_REJECTED=halt stops the relay here. "+
		"Fix the destination, or set RELAY_ON_REJECTED to park or park-aggregate to continue without the event",
		e.Destination, e.EventID, e.Cause)
}

func (e *HaltError) Unwrap() error { return e.Cause }

var (
	errBlocked = errors.New("an earlier event of its message group is parked")
	errBehind  = errors.New("an earlier event of its message group was not delivered")
)
