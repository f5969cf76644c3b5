package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// stopGrace is how long Run waits for requests in flight when delivery ends. Events that they
// deliver are known to be delivered and not sent again. A server that shuts down must not wait for
// an unavailable broker.
const stopGrace = 2 * time.Second

// Event is one event on its way to its destination.
type Event struct {
	Message     sink.Message
	Handle      checkpoint.Handle
	CommittedAt time.Time // commit time of its transaction; zero if unknown
	ReadAt      time.Time // when delivery received it; set by [Delivery.Send]
	// Gather is how long e may wait for others that share its request. Only events of a backlog
	// have it.
	Gather time.Duration
	// HeadersDropped is how many headers no message of any destination could hold. They are counted
	// already.
	HeadersDropped int
	Row            Row         // the row of the outbox table that the event was made of
	DeadLetter     *DeadLetter // the dead letter that it comes from; nil for others
	// Replayed is called once when a replayed event is delivered, or with the reason if its
	// destination refuses it. It must not block. It is nil for events that are no replay.
	Replayed func(refused *sink.RejectedError)
	// Deferral names a destination whose deferral has e, although the routes of now lead elsewhere.
	// Empty for nearly all events.
	Deferral string
	// Settled is called once when an event that the Tracker does not know is delivered or parked.
	// It must not block. It is nil for events that the Tracker knows.
	Settled func()

	rejection   *sink.RejectedError // known before the event is sent
	blockedBy   string              // id of the parked event that blocks its group
	unavailable bool                // parked because its destination is unavailable
	withdrawn   bool                // a dead letter whose redrive was canceled
	err         error               // error of its last attempt; nil once it is delivered or parked
	attempts    int32               // requests that held it
	alterations int32               // attempts that delivered another body
	triedAt     time.Time           // when the last of them began
	proof       *proof              // since its first refusal; nil before
	size        int
	group       *group // while it waits for its request or is in it
	next        *Event // the next event of its group
}

// Attempts returns how many requests held e, with the one in flight.
func (e *Event) Attempts() int { return int(e.attempts) }

// Unusable says why no destination can accept e, if there is a reason. Delivery parks e in its
// turn, as a dead letter with this code. An empty code stands for [CodeUnusable].
func (e *Event) Unusable(code, reason string) {
	if reason != "" {
		e.rejection = &sink.RejectedError{Code: cmp.Or(code, CodeUnusable), Reason: reason}
	}
}

// isSendable reports whether e is sent to its destination in its turn.
func (e *Event) isSendable() bool { return e.blockedBy == "" && e.rejection == nil && !e.withdrawn }

// isRedriven reports whether e comes from a dead letter.
func (e *Event) isRedriven() bool { return e.DeadLetter != nil }

// isReplayed reports whether e was delivered before and is sent again.
func (e *Event) isReplayed() bool { return e.Replayed != nil }

// isAskedFor reports whether an operator redrove or replayed e. The Tracker does not know such an
// event, and no parked event holds it back.
func (e *Event) isAskedFor() bool { return e.isRedriven() || e.isReplayed() }

// age returns the time since e was committed, or zero if that is unknown.
func (e *Event) age(now time.Time) time.Duration {
	if e.CommittedAt.IsZero() {
		return 0
	}
	return now.Sub(e.CommittedAt)
}

// isBehind reports whether an earlier event of its batch belongs to its group and was not
// delivered.
func (e *Event) isBehind(earlier []*Event) bool {
	return slices.ContainsFunc(earlier, func(other *Event) bool {
		return other.err != nil && other.Message.GroupID == e.Message.GroupID
	})
}

// Destination is an opened sink with the message groups that parked events block.
type Destination struct {
	// its ARN in logs, metrics and dead letters, in whatever form the settings name it
	Name    string
	Sink    sink.Sink
	Blocked map[string]string // message group to the id of the parked event that blocks it
	Paused  bool              // no request is sent: see [Delivery.Pause]
	// Patterned says that only a pattern leads here, so the destination may never get an event.
	Patterned bool
}

// Lease says whether this relay may still publish. Delivery asks it before each request.
type Lease interface {
	// MayPublish returns an error if another relay may hold the slot by now.
	MayPublish() error
}

// Parker stores the events that a destination refuses.
type Parker interface {
	// Park stores letter durably, or returns an error and has stored nothing. letter.Message is
	// valid during the call. To park an event again is no error. A dead letter that is refused
	// again is parked again. If it blocks its group, so are those behind it.
	Park(ctx context.Context, letter DeadLetter) error
	// IsParked reports whether there is a dead letter of this event already, in any state: the
	// event comes again.
	IsParked(ctx context.Context, letter DeadLetter) (bool, error)
	// IsRedriving reports whether a dead letter is still to be sent, by the redrive with which it
	// came to delivery.
	IsRedriving(ctx context.Context, letter *DeadLetter) (bool, error)
	// Redriven records that the dead letter at position is delivered.
	Redriven(ctx context.Context, position int64) error
	// IsBlocked reports whether a dead letter blocks the group.
	IsBlocked(ctx context.Context, destination, groupID string) (bool, error)
}

// DeadLetter is an event that is parked, or a parked event that an operator redrives.
type DeadLetter struct {
	Destination string
	Message     *sink.Message
	Code        string
	Reason      string
	Attempts    int  // requests that held the event
	BlocksGroup bool // later events of the message group are parked behind it until it is delivered or discarded
	Row         Row

	Position   int64     // its key in the table of dead letters; zero before it is stored
	RedrivenAt time.Time // when the operator redrove it, by the server's clock; zero before that
}

// Observer counts events and requests for metrics.
type Observer interface {
	LargeEventObserver
	// Dropped counts events that a route leads nowhere.
	Dropped(events int)
	// HeadersDropped counts headers of an event that the message of its destination could not hold.
	HeadersDropped(headers int)
	Requested(destination string, events int, took time.Duration, err error)
	// Delivered counts the delivered events of one request. sinceCommit has the age of each, or
	// zero if it is unknown.
	Delivered(destination string, sinceCommit []time.Duration)
	// Paced reports how many requests a second the relay sends, zero without a limit, and whether
	// the destination sets that limit. Delivery reports each change.
	Paced(destination string, perSecond float64, throttled bool)
	// Paused reports whether a destination is paused. Delivery reports each change.
	Paused(destination string, paused bool)
	Retried(destination, code string)
	Parked(destination, code string)
	Redriven(destination string)
	// Replayed counts one replayed event, with the code of its refusal. The code is empty if it was
	// delivered.
	Replayed(destination, code string)
}

// Recorder remembers the last accepted events.
type Recorder interface {
	// Accepted takes the events of a request that began at sent, with a result for each. Those
	// without an error are durable at the destination. Accepted must not block and must not retain
	// its arguments.
	Accepted(destination string, sent time.Time, events []*Event, results []sink.Result)
}

// Deps are the parts of the relay that delivery calls.
type Deps struct {
	Tracker  *checkpoint.Tracker
	Lease    Lease
	Parker   Parker
	Observer Observer
	Recorder Recorder // nil: nothing is remembered
	Log      *slog.Logger
}

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
	known := make([]*Event, 0, len(events)) // by the Tracker
	for _, e := range events {
		if e.Settled != nil {
			e.Settled()
			continue
		}
		known = append(known, e)
	}
	d.HandOver(known)
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
