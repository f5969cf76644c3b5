package deferral

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// lookInterval is how often the Worker looks for destinations to defer, and for deferrals that
	// have ended.
	lookInterval = 250 * time.Millisecond
	// refreshTimeout bounds the wait until the stream was read past a snapshot.
	refreshTimeout = 500 * time.Millisecond
)

// Senders is the part of [delivery.Delivery] that the Worker defers and sends with.
type Senders interface {
	Send(destination int, events ...*delivery.Event)
	// Defer says whether events wait instead of being parked when their destination is unavailable
	// for long.
	Defer(destination int, wait bool)
	// Overdue returns since when a destination has accepted nothing, and whether that is so long
	// that its events are to be deferred.
	Overdue(destination int) (since time.Time, overdue bool)
	// Hold waits until no request to a destination is in flight, and starts no further one until
	// release is called.
	Hold(ctx context.Context, destination int) (release func(), err error)
	// Waiting calls visit for each event of a destination that no request has.
	Waiting(destination int, visit func(*delivery.Event))
	// Withdraw removes events from a destination. No request is in flight.
	Withdraw(destination int, wanted func(*delivery.Event) bool) []*delivery.Event
	// HasUncovered reports whether a destination has events that its deferral does not cover.
	HasUncovered(destination int) bool
	// ParkUncovered parks these events. No request is in flight.
	ParkUncovered(destination int, since time.Time)
	// Pause starts no further request to a destination until it is called with false.
	Pause(destination int, paused bool)
	groupSenders
}

// Observer counts deferrals, for metrics.
type Observer interface {
	Deferred(destination string, events int64)
	// Deferrals does not count paused destinations.
	Deferrals(destinations int, oldest time.Duration)
	// DeferredGroups does not count those behind a dead letter, which DeferredBehind counts.
	DeferredGroups(groups int, oldest time.Duration)
	DeferredBehind(groups int)
	// PausedFor takes how long the first of the paused destinations has been paused.
	PausedFor(oldest time.Duration)
	Removed(destination string, events int64)
}

// Worker defers the events of destinations that are unavailable for long, and of message groups
// that use up their share of the window. It delivers them from the outbox table.
type Worker struct {
	Store    stored
	Rows     rows
	Gate     *Gate
	Senders  Senders
	Router   *route.Router
	Names    []string // of the destinations, by index
	MaxBytes int      // of the events of one destination that are with delivery
	// Begins says whether unavailable destinations may be deferred, and Groups whether message
	// groups may. Those that are deferred are delivered in any case.
	Begins, Groups bool
	// CannotPause is why not all events of a destination can wait in the table. Empty if they can.
	// With several tables they cannot, and those of single aggregates can nevertheless: see Groups.
	CannotPause string
	Paused      []pause.Pause   // when the session began
	Begun       <-chan struct{} // closed once the stream is read
	Window      Window
	Bounds      checkpoint.Window
	Observer    Observer
	// Retries takes the error that the Worker retries, or nil once it works again.
	Retries func(error)
	Log     *slog.Logger

	prepared   bool
	firstXID   uint64 // above every transaction that an earlier session has read
	turns      turns
	removed    atomic.Bool // whether rows were removed before they were delivered: no further group is deferred
	refused    refusals    // of watchShares
	behind     behindState // of watchBehind
	failed     bool        // the last look
	pauses     pauses
	relieved   []relief // by destination
	forgotAt   time.Time
	reportedAt time.Time
	reported   map[string]bool
}

// Run defers and delivers until ctx ends, and then returns nil. It returns the error of a write,
// whose outcome may be unknown, and retries everything else.
func (w *Worker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	w.reported, w.relieved = map[string]bool{}, make([]relief, len(w.Names))
	w.pauses.set(w.Paused)
	defer func() { // another relay may report from now on
		w.reportNone(nil)
		w.Observer.Deferrals(0, 0)
		w.Observer.DeferredGroups(0, 0)
		w.Observer.DeferredBehind(0)
		w.Observer.PausedFor(0)
	}()
	w.behind.since = map[key]time.Time{}
	group.Go(func() error { return w.watchShares(ctx) })
	group.Go(func() error { return w.watchBehind(ctx) })
	group.Go(func() error { return w.repeat(ctx, passInterval, w.lookWithin) })
	for ; ctx.Err() == nil; task.Sleep(ctx, lookInterval) {
		err := w.look(ctx, group)
		if isFinal(err) {
			group.Go(func() error { return err })
			break
		}
		if err != nil || w.failed {
			w.logRetry(ctx, err)
		}
		w.failed = err != nil
		if !w.prepared || !w.hasBegun() {
			continue
		}
		waiting, _ := w.Gate.deferred()
		for _, h := range w.turns.next(w.drainable(waiting)) {
			group.Go(func() error {
				defer w.turns.ended(h)
				return w.drain(ctx, h)
			})
		}
	}
	return ignoreEnd(group.Wait())
}

// isFinal reports whether err ends the session.
func isFinal(err error) bool {
	var write *WriteError
	return errors.As(err, &write) || errors.Is(err, slot.ErrFenced)
}

func ignoreEnd(err error) error {
	if isFinal(err) {
		return err
	}
	return nil
}

// logRetry logs an error that is retried.
func (w *Worker) logRetry(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	err = postgres.WithRemedy(err)
	w.Retries(err)
	if err != nil {
		w.Log.Warn("deferral: trying again", "err", err)
	}
}

// hasBegun reports whether the stream is read. Until then a recovery reads the table.
func (w *Worker) hasBegun() bool {
	select {
	case <-w.Begun:
		return true
	default:
		return false
	}
}

// look begins deferrals, and forgets those that have ended.
func (w *Worker) look(ctx context.Context, group *errgroup.Group) (err error) {
	if !w.prepared {
		if err := w.prepare(ctx); err != nil {
			return err
		}
	}
	if err := w.readPauses(ctx); err != nil {
		return err
	}
	mayBegin := w.Begins && w.Gate.Past() != ""
	for i, name := range w.Names {
		defers := mayBegin || w.Gate.holds(name)
		w.Senders.Defer(i, defers)
		if defers || w.pauses.has(name) {
			w.startRelief(ctx, group, i)
		}
	}
	if err := w.forget(ctx); err != nil {
		return err
	}
	return w.report(ctx)
}

// prepare assigns the first xid of the session, if there are deferrals of earlier ones.
func (w *Worker) prepare(ctx context.Context) (err error) {
	if waiting, _ := w.Gate.deferred(); len(waiting) > 0 {
		w.firstXID, err = w.Store.FirstXID(ctx)
	}
	w.prepared = err == nil
	return err
}
