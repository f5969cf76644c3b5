// Package delivery decides what is sent when: message groups, batches, requests in flight, retries, and what is parked.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// stopGrace bounds how long requests in flight are waited for when delivery ends: what they delivered is then known and
// not sent again, but a server that shuts down must not wait for a broker that is away.
const stopGrace = 2 * time.Second

// Event is one event on its way to its destination.
type Event struct {
	Message     sink.Message
	Handle      checkpoint.Handle
	CommittedAt time.Time // of its transaction; zero if unknown
	// Gather is how long e may wait for others that share its request. It is zero but for events of a backlog.
	Gather  time.Duration
	Problem string // why it cannot be sent, whatever the destination; it is parked in its turn
	// HeadersDropped is how many headers no message could hold, whatever the destination. They are counted already.
	HeadersDropped int
	ProblemCode    string // of the dead letter; CodeUnusable if it is empty
	Row            Row    // the row of the outbox table that it was made of
	Letter         Letter // the dead letter that it comes from; zero for others
	// Replayed is told, once, that an event that was delivered before is so again, or why its destination refuses it. It
	// must not block. nil for events that are no replay.
	Replayed func(refused *sink.RejectedError)
	// Settled is told, once, that an event which the Tracker does not know is delivered or parked. It must not block. nil for
	// those that the Tracker knows.
	Settled func()

	rejection   *sink.RejectedError // known before sending
	blockedBy   string              // id of the parked event that blocks its group
	away        bool                // it is parked because its destination takes nothing
	withdrawn   bool                // a dead letter that is not to be sent any more
	err         error               // of its last attempt; nil once it is delivered or parked
	attempts    int                 // requests that it was part of
	triedAt     time.Time           // the last of them began
	proof       proof               // while it is refused
	alterations int                 // attempts after which the destination had another body
	size        int
	next        *Event // in its group
}

// isSendable reports whether e goes to its destination in its turn.
func (e *Event) isSendable() bool { return e.blockedBy == "" && e.rejection == nil && !e.withdrawn }

// isRedriven reports whether e comes from a dead letter.
func (e *Event) isRedriven() bool { return e.Letter.Position != 0 }

// isReplayed reports whether e was delivered before and is sent once more.
func (e *Event) isReplayed() bool { return e.Replayed != nil }

// isAskedFor reports whether somebody asked for e to be sent. The Tracker does not know it, and nothing that is parked
// holds it back.
func (e *Event) isAskedFor() bool { return e.isRedriven() || e.isReplayed() }

// Row tells a row of the outbox table from every other.
type Row struct {
	Sequence  string        // column seq; empty if the table has none
	XID       string        // column xid; empty if the table has none
	CommitLSN pglogrepl.LSN // of its transaction, and its place in that; zero for a row that was read from the table
	Number    int64
}

// Letter is a dead letter that is sent once more.
type Letter struct {
	Position    int64     // its key
	Since       time.Time // of its being redriven, by the server's clock
	BlocksGroup bool      // until it is delivered or discarded
}

// age returns how long ago e was committed; zero if that is unknown.
func (e *Event) age(now time.Time) time.Duration {
	if e.CommittedAt.IsZero() {
		return 0
	}
	return now.Sub(e.CommittedAt)
}

// isBehind reports whether one of the earlier events of its batch is of its group and was not delivered.
func (e *Event) isBehind(earlier []*Event) bool {
	return slices.ContainsFunc(earlier, func(other *Event) bool {
		return other.err != nil && other.Message.GroupID == e.Message.GroupID
	})
}

// Destination is an opened sink and what is parked there.
type Destination struct {
	Name    string // its ARN, however the settings name it: for logs, metrics and dead letters
	Sink    sink.Sink
	Blocked map[string]string // message group to the id of the parked event that blocks it
}

// Holder is asked before each request whether this relay may still publish.
type Holder interface {
	// MayPublish returns an error if another relay may hold the slot by now.
	MayPublish() error
}

// Parker keeps what a destination refuses.
type Parker interface {
	// Park stores p, which is valid during the call, durably, or returns an error and has stored nothing. To park an event again is no error. A dead letter
	// that is refused again is parked again, with those behind it in its group if it blocks it.
	Park(ctx context.Context, p Parked) error
	// IsRedriving reports whether a dead letter is still to be sent, as it was when it was handed to delivery.
	IsRedriving(ctx context.Context, letter Letter) (bool, error)
	// Redriven notes that the dead letter at position is delivered.
	Redriven(ctx context.Context, position int64) error
	// IsBlocked reports whether a dead letter blocks the group.
	IsBlocked(ctx context.Context, destination, groupID string) (bool, error)
}

// Parked is an event that its destination will never take.
type Parked struct {
	Destination string
	Message     *sink.Message
	Code        string
	Reason      string
	Attempts    int // requests that it was part of
	BlocksGroup bool
	Row         Row
	Letter      Letter // of an event that was parked before; zero for others
}

// Observer is told what happens, for metrics.
type Observer interface {
	// HeadersDropped is told how many headers of an event the message of its destination could not hold.
	HeadersDropped(headers int)
	Requested(destination string, events int, took time.Duration, err error)
	// Delivered is told of the events of a request that were delivered, how long ago each was committed; zero if unknown.
	Delivered(destination string, sinceCommit []time.Duration)
	// Paced is told how many requests a second may be sent, zero if nothing limits them, and whether the destination limits
	// them. It is told again when that changes.
	Paced(destination string, perSecond float64, throttled bool)
	Retried(destination, code string)
	Parked(destination, code string)
	Redriven(destination string)
	// Replayed is told of each replayed event, with the code of its refusal; empty if it was delivered.
	Replayed(destination, code string)
}

// Deps are what delivery works with.
type Deps struct {
	Tracker  *checkpoint.Tracker
	Holder   Holder
	Parker   Parker
	Observer Observer
	Log      *slog.Logger
}

// Delivery sends events to their destinations.
type Delivery struct {
	deps     Deps
	lanes    []*lane
	requests context.Context // of the requests in flight
	cancel   context.CancelFunc
	wait     sync.WaitGroup
	inFlight atomic.Int64 // requests of all lanes
	endOnce  sync.Once
	ended    chan struct{} // closed when no request may be started any more
	err      error         // why; once ended is closed
	spare    sync.Pool     // of *Event
}

// New returns a Delivery to destinations. Nothing is sent yet but by [Delivery.Send].
func New(destinations []Destination, options Options, deps Deps) *Delivery {
	d := &Delivery{deps: deps, ended: make(chan struct{})}
	d.requests, d.cancel = context.WithCancel(context.Background())
	for _, destination := range destinations {
		d.lanes = append(d.lanes, newLane(d, destination, options))
	}
	return d
}

// NewEvent returns an empty event in memory of one that was delivered, if there is any. Its Attributes have room.
func (d *Delivery) NewEvent() *Event {
	if e, ok := d.spare.Get().(*Event); ok {
		return e
	}
	return &Event{}
}

// recycle gives the memory of events back that nobody knows any more.
func (d *Delivery) recycle(events []*Event) {
	for _, e := range events {
		attributes := e.Message.Attributes
		clear(attributes)
		*e = Event{Message: sink.Message{Attributes: attributes[:0]}}
		d.spare.Put(e)
	}
}

// Send hands events on to the destination of this index, which owns them from then on. It does not block; what may be open
// at once is bounded by the Tracker's window. The Tracker knows the events already.
func (d *Delivery) Send(destination int, events ...*Event) { d.lanes[destination].send(events) }

// Hurry has batches that are not full wait for nothing any more: nothing more comes.
func (d *Delivery) Hurry() {
	for _, l := range d.lanes {
		l.hurry()
	}
}

// Run blocks until ctx ends or delivery cannot go on. Then no request is started any more, those in flight get a moment,
// and events that are not delivered are forgotten: the log still has them.
func (d *Delivery) Run(ctx context.Context) error {
	for _, l := range d.lanes {
		d.wait.Add(1)
		go l.watchLimits()
	}
	select {
	case <-ctx.Done():
		d.end(ctx.Err())
	case <-d.ended:
	}
	for _, l := range d.lanes {
		l.end()
	}
	grace := time.AfterFunc(stopGrace, d.cancel)
	d.wait.Wait()
	grace.Stop()
	d.cancel()
	return d.err
}

// end ends Run with the first err.
func (d *Delivery) end(err error) {
	d.endOnce.Do(func() {
		d.err = err
		close(d.ended)
	})
}

// mayRequest returns why no request may be started any more, or nil.
func (d *Delivery) mayRequest() error {
	select {
	case <-d.ended:
		return d.err
	default:
	}
	err := d.deps.Holder.MayPublish()
	if err != nil {
		d.end(err)
	}
	return err
}

// RejectedError says that a destination refused an event for good, under the policy to stop at that.
type RejectedError struct {
	Destination string
	EventID     string
	Cause       *sink.RejectedError
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("destination %s will never take event %s: %v. RELAY_ON_REJECTED=halt stops the relay here: "+
		"mend the destination, or set RELAY_ON_REJECTED to park or park-aggregate to go on without the event",
		e.Destination, e.EventID, e.Cause)
}

func (e *RejectedError) Unwrap() error { return e.Cause }

var (
	errBlocked = errors.New("an earlier event of its message group is parked")
	errBehind  = errors.New("an earlier event of its message group was not delivered")
)
