package deferral

import (
	"context"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// relieve keeps the events of an overdue destination from holding up the position. Events that a
// deferral covers wait in the table, and the others are parked. The events of a paused destination
// wait in the table too.
func (w *Worker) relieve(ctx context.Context, destination int) error {
	w.relieved[destination].beginMu.Lock()
	defer w.relieved[destination].beginMu.Unlock()
	if p, paused := w.pauses.of(w.Names[destination]); paused {
		return w.holdBack(ctx, destination, p)
	}
	since, overdue := w.Senders.Overdue(destination)
	if !overdue {
		return nil
	}
	if _, covered := w.lowest(destination); covered > 0 && !w.Gate.holds(w.Names[destination]) {
		return w.begin(ctx, destination, cause{
			text: "the destination has accepted nothing since " + since.UTC().Format(time.RFC3339), since: since,
			holds: func(events int) bool {
				_, overdue := w.Senders.Overdue(destination)
				return overdue && events > 0
			},
		})
	}
	if !w.Senders.HasUncovered(destination) {
		return nil
	}
	release, err := w.Senders.Hold(ctx, destination)
	if err != nil {
		return err
	}
	defer release()
	if _, overdue := w.Senders.Overdue(destination); overdue {
		w.Senders.ParkUncovered(destination, since)
	}
	return nil
}

// cause is why a destination is deferred.
type cause struct {
	text  string
	since time.Time
	// holds reports whether the cause still holds once no request is in flight. events is how many
	// events of the destination can wait in the table.
	holds func(events int) bool
}

// begin defers the events of a destination.
func (w *Worker) begin(ctx context.Context, destination int, why cause) error {
	if _, err := w.refresh(ctx); err != nil {
		return err
	}
	release, err := w.Senders.Hold(ctx, destination)
	if err != nil {
		return err
	}
	defer release()
	known := w.Gate.Past() // before the events are looked at: later ones are not visible in it
	lowest, events := w.lowest(destination)
	if known == "" || !why.holds(events) {
		return nil
	}
	return w.enter(ctx, Deferral{
		Destination: w.Names[destination], Known: known, FromSeq: lowest, Reason: why.text, Since: why.since,
	}, known, w.beginner(func(covered func(*delivery.Event) bool) []*delivery.Event {
		return w.Senders.Withdraw(destination, covered)
	}))
}

// beginner returns a function that begins a deferral in the gate. withdraw removes its events
// from delivery.
func (w *Worker) beginner(withdraw func(covered func(*delivery.Event) bool) []*delivery.Event) func(h *held) {
	return func(h *held) { w.Gate.begin(h, w.hasBegun(), withdraw) }
}

// enter begins a deferral: the row first, then the gate, then the Tracker. No request has events of
// its place, and none had later ones than seen shows.
func (w *Worker) enter(ctx context.Context, stored Deferral, seen string, begin func(h *held)) error {
	routes := w.Router.Text(w.Names)
	stored.Routes, stored.State = []string{routes}, Deferred
	h, err := newHeld(stored, routes)
	if err == nil {
		h.seen, err = pgsnapshot.Parse(seen)
	}
	if err != nil {
		return fmt.Errorf("defer the events of %s: %w", stored.place(), err)
	}
	if err := w.Store.Begin(ctx, stored); err != nil {
		return err
	}
	begin(h)
	log := w.Log.With(stored.place().attrs()...)
	if stored.FromSeq != endless { // known alone says which rows are done
		log = log.With("from_seq", stored.FromSeq)
	}
	log.Warn("events wait in the outbox table", "event", "deferred", "reason", stored.Reason, "known", stored.Known)
	return nil
}

// refresh has the gate know a snapshot of this moment, if the stream is soon read past it: fewer
// rows that were delivered are then not visible in it. The stream is not read while the window is
// full.
func (w *Worker) refresh(ctx context.Context) (now Observation, err error) {
	if now, err = w.Store.Observe(ctx); err != nil || !w.hasBegun() {
		return now, err
	}
	_, err = w.awaitPassed(ctx, now, func(waited time.Duration) bool { return waited < refreshTimeout && !w.isFull() })
	return now, err
}

// awaitPassed waits until the stream was read past a snapshot. It reports false if patience ends
// first.
func (w *Worker) awaitPassed(
	ctx context.Context, o Observation, patience func(waited time.Duration) bool,
) (passed bool, err error) {
	for began := time.Now(); !w.Gate.passed(o); {
		if !patience(time.Since(began)) {
			return false, nil
		}
		if !task.Sleep(ctx, reachInterval) {
			return false, ctx.Err()
		}
	}
	return true, nil
}

// lowest returns the lowest seq of the events that delivery holds, and how many events have one.
// Rows that came with a partition do not count: theirs may be far below those that were delivered,
// which would come again.
func (w *Worker) lowest(destination int) (lowest int64, events int) {
	lowest = endless
	w.Senders.Waiting(destination, func(e *delivery.Event) {
		if _, seq, ok := e.Row.Numbers(); ok && !e.Joined {
			lowest = min(lowest, fromSeqOf(seq))
			events++
		}
	})
	return lowest, events
}
