package deferral

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
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
	// forgetInterval is how often it looks for those that the position has passed. On an idle
	// server the position may not move for long.
	forgetInterval = 2 * time.Second
	// tellInterval is how often the observer is told.
	tellInterval = time.Second
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
	// Withdraw takes events away from a destination. No request is in flight.
	Withdraw(destination int, wanted func(*delivery.Event) bool) []*delivery.Event
	// HasRest reports whether a destination has events that its deferral does not cover.
	HasRest(destination int) bool
	// ParkRest parks these events. No request is in flight.
	ParkRest(destination int, since time.Time)
}

// Observer is told of deferrals, for metrics.
type Observer interface {
	Deferred(destination string, events int64)
	Deferrals(destinations int, oldest time.Duration)
	Removed(destination string, events int64)
}

// Worker defers the events of destinations that are unavailable for long, and delivers them from
// the outbox table once the destinations work again.
type Worker struct {
	Store    *Store
	Rows     *Rows
	Gate     *Gate
	Senders  Senders
	Router   *route.Router
	Names    []string // of the destinations, by index
	MaxBytes int      // of the events of one destination that are with delivery
	Begins   bool     // whether destinations may be deferred; those that are deferred are delivered in any case
	Observer Observer
	// Retries takes the error that the Worker retries, or nil once it works again.
	Retries func(error)
	Log     *slog.Logger

	prepared bool
	firstXID uint64 // above every transaction that an earlier session has read
	failed   bool   // the last look
	forgotAt time.Time
	toldAt   time.Time
	told     map[string]bool
}

// Run defers and delivers until ctx ends, and then returns nil. It returns the error of a write,
// whose outcome may be unknown, and retries everything else.
func (w *Worker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	draining := map[*held]bool{}
	w.told = map[string]bool{}
	defer func() { // another relay may tell from now on
		w.tellNone(nil)
		w.Observer.Deferrals(0, 0)
	}()
	for ; ctx.Err() == nil; task.Sleep(ctx, lookInterval) {
		err := w.look(ctx)
		if isFinal(err) {
			group.Go(func() error { return err })
			break
		}
		if err != nil || w.failed {
			w.note(ctx, err)
		}
		w.failed = err != nil
		waiting, _ := w.Gate.deferred()
		for _, h := range waiting {
			if w.prepared && !draining[h] {
				draining[h] = true
				group.Go(func() error { return w.drain(ctx, h) })
			}
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

// note logs an error that is retried.
func (w *Worker) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	err = postgres.WithRemedy(err)
	w.Retries(err)
	if err != nil {
		w.Log.Warn("deferral: trying again", "err", err)
	}
}

// look begins deferrals, and forgets those that have ended.
func (w *Worker) look(ctx context.Context) (err error) {
	if !w.prepared {
		if err := w.prepare(ctx); err != nil {
			return err
		}
	}
	begins := w.Begins && w.Gate.Past() != ""
	for i, name := range w.Names {
		defers := begins || w.Gate.holds(name)
		w.Senders.Defer(i, defers)
		if !defers {
			continue
		}
		if err := w.relieve(ctx, i); err != nil {
			return err
		}
	}
	if err := w.forget(ctx); err != nil {
		return err
	}
	return w.tell(ctx)
}

// relieve has no event of a destination hold up the position once the destination is overdue.
// Events that a deferral covers wait in the table, and the others are parked.
func (w *Worker) relieve(ctx context.Context, destination int) error {
	since, overdue := w.Senders.Overdue(destination)
	if !overdue {
		return nil
	}
	if _, covered := w.lowest(destination); covered > 0 && !w.Gate.holds(w.Names[destination]) {
		return w.begin(ctx, destination, since)
	}
	if !w.Senders.HasRest(destination) {
		return nil
	}
	release, err := w.Senders.Hold(ctx, destination)
	if err != nil {
		return err
	}
	defer release()
	if _, overdue := w.Senders.Overdue(destination); overdue {
		w.Senders.ParkRest(destination, since)
	}
	return nil
}

// prepare assigns the first xid of the session, if there are deferrals of earlier ones.
func (w *Worker) prepare(ctx context.Context) (err error) {
	if waiting, _ := w.Gate.deferred(); len(waiting) > 0 {
		w.firstXID, err = w.Store.FirstXID(ctx)
	}
	w.prepared = err == nil
	return err
}

// begin defers the events of a destination: the row first, then the gate, then the Tracker.
func (w *Worker) begin(ctx context.Context, destination int, since time.Time) error {
	name := w.Names[destination]
	if err := w.refresh(ctx); err != nil {
		return err
	}
	release, err := w.Senders.Hold(ctx, destination)
	if err != nil {
		return err
	}
	defer release()
	known := w.Gate.Past() // before the events are looked at: later ones are not visible in it
	lowest, events := w.lowest(destination)
	if _, overdue := w.Senders.Overdue(destination); !overdue || events == 0 {
		return nil
	}
	routes := w.Router.Text(w.Names)
	stored := Deferral{
		Destination: name, Known: known, FromSeq: lowest, Routes: []string{routes}, State: Deferred,
		Reason: "the destination has accepted nothing since " + since.UTC().Format(time.RFC3339), Since: since,
	}
	h, err := newHeld(stored, routes)
	if err != nil {
		return fmt.Errorf("defer the events of %s: %w", name, err)
	}
	if err := w.Store.Begin(ctx, stored); err != nil {
		return err
	}
	w.Gate.begin(h, func(covered func(*delivery.Event) bool) []*delivery.Event {
		return w.Senders.Withdraw(destination, covered)
	})
	w.Log.Warn("events of the destination wait in the outbox table until it is available", "event", "deferred",
		"destination", name, "reason", stored.Reason, "from_seq", lowest, "known", known)
	return nil
}

// refresh has the gate know a snapshot of this moment, if the stream is soon read past it: fewer
// rows that were delivered are then not visible in it. The stream is not read while the window is
// full.
func (w *Worker) refresh(ctx context.Context) error {
	now, err := w.Store.Observe(ctx)
	if err != nil {
		return err
	}
	for began := time.Now(); !w.Gate.passed(now) && time.Since(began) < refreshTimeout; {
		if !task.Sleep(ctx, reachInterval) {
			return ctx.Err()
		}
	}
	return nil
}

// lowest returns the lowest seq of the events that delivery holds, and how many events have one.
func (w *Worker) lowest(destination int) (lowest int64, events int) {
	lowest = endless
	w.Senders.Waiting(destination, func(e *delivery.Event) {
		if _, seq, ok := e.Row.Numbers(); ok {
			lowest = min(lowest, seq)
			events++
		}
	})
	return lowest, events
}

// forget removes the deferrals that have ended. It is J6.
func (w *Worker) forget(ctx context.Context) error {
	_, ending := w.Gate.deferred()
	if len(ending) == 0 || time.Since(w.forgotAt) < forgetInterval {
		return nil
	}
	w.forgotAt = time.Now()
	ended := make([]string, len(ending))
	for i, h := range ending {
		ended[i] = h.stored.Destination
	}
	names, err := w.Store.Forget(ctx, ended)
	for _, name := range names {
		w.Gate.forget(name)
	}
	return err
}

// tell tells the observer about the waiting events.
func (w *Worker) tell(ctx context.Context) error {
	waiting, _ := w.Gate.deferred()
	if len(waiting) == 0 && len(w.told) == 0 || time.Since(w.toldAt) < tellInterval {
		return nil
	}
	w.toldAt = time.Now()
	stored, err := w.Store.List(ctx)
	if err != nil {
		return err
	}
	told, oldest := map[string]bool{}, time.Duration(0)
	for _, d := range stored {
		if d.State == Deferred {
			told[d.Destination] = true
			oldest = max(oldest, time.Since(d.Since))
			w.Observer.Deferred(d.Destination, d.Events)
		}
	}
	w.tellNone(told)
	w.Observer.Deferrals(len(told), oldest)
	w.told = told
	return nil
}

// tellNone tells the observer of the destinations of which no event waits any more.
func (w *Worker) tellNone(waiting map[string]bool) {
	for name := range w.told {
		if !waiting[name] {
			w.Observer.Deferred(name, 0)
		}
	}
}
