package deferral

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// inFlight bounds the events of a pass that are with delivery, beside Worker.MaxBytes.
	inFlight = 1000
	// eventOverhead is the approximate memory of an event beside its row, in bytes.
	eventOverhead = 512
	// markInterval is how often a long pass stores how far it is.
	markInterval = time.Second
	// joinTimeout bounds an attempt to join.
	joinTimeout = 10 * time.Second
	// longestFull bounds how long an attempt to join keeps events while the window is full.
	longestFull = 50 * time.Millisecond
	// passPause is the least pause between two passes, and retryPause that after an error. A pass
	// that reads much of the table, because an old transaction is open, takes a third of the time.
	passPause, retryPause = 100 * time.Millisecond, time.Second
	groupPause            = 20 * time.Millisecond
	share, longestPause   = 2, 5 * time.Second
	// reachInterval is between two looks whether the stream was read past a snapshot.
	reachInterval = 10 * time.Millisecond
	// lastWait bounds how long the Worker waits at its end for events that are in flight, so that
	// they do not come again.
	lastWait = 300 * time.Millisecond
)

// drain delivers the waiting rows, in passes, until the stream is joined, the turn of a group is
// over or ends at a dead letter, or ctx ends.
func (w *Worker) drain(ctx context.Context, h *held) error {
	if w.Gate.isJoined(h) || w.isMissing(ctx, h) { // since the list of those that wait was made
		return nil
	}
	defer w.Gate.keepNone(h)
	failed := false
	for pause := time.Duration(0); task.Sleep(ctx, pause); {
		if w.pauses.has(h.stored.Destination) || w.Gate.isBehind(h) {
			pause = lookInterval
			if err := w.storeWaiting(ctx, h); err != nil || h.isGroup() {
				return err
			}
			continue
		}
		began, waited := time.Now(), h.waited
		done, err := w.step(ctx, h)
		switch {
		case isFinal(err):
			return err
		case errors.Is(err, errTurnOver):
			err = nil
		}
		if err != nil || failed {
			w.logRetry(ctx, err)
		}
		if failed = err != nil; done || w.turns.isOver(h) {
			return nil
		}
		pause = restAfter(h, time.Since(began), h.waited-waited)
		if failed {
			pause = retryPause
		}
	}
	return nil
}

// leastPause returns the least pause before the next pass. That of a group grows while its passes
// find nothing: many groups may wait for the end of an old transaction.
func leastPause(h *held) time.Duration {
	if h.isGroup() {
		return groupPause << min(h.idle, 6)
	}
	return passPause
}

// storeWaiting stores how many events wait, while no pass does.
func (w *Worker) storeWaiting(ctx context.Context, h *held) error {
	waiting := w.Gate.dropped(h)
	if waiting == 0 {
		return nil
	}
	return w.Store.Pass(ctx, h.stored.place(), h.mark.known.String(), h.mark.fromSeq, waiting)
}

// step makes a pass, and then tries to join the stream if few rows wait.
func (w *Worker) step(ctx context.Context, h *held) (joined bool, err error) {
	delivered := w.Window.Load().Delivered
	to, isNow, err := w.end(ctx, func(waited time.Duration) bool { return waited < refreshTimeout })
	began := time.Now()
	if err != nil || to.Snapshot == "" || !isNow && !h.mark.isCoveredBy(to.Snapshot) {
		return false, err
	}
	passed, err := w.pass(ctx, h, to)
	if err != nil || !passed.ended ||
		!w.isNear(h, passed, time.Since(began), w.Window.Load().Delivered-delivered) {
		return false, err
	}
	return w.join(ctx, h)
}

// join is J1 to J5. It reports false where the gate could not keep everything, or where the
// snapshot does not show yet the rows that were dropped.
func (w *Worker) join(ctx context.Context, h *held) (bool, error) {
	if !w.Gate.keepFrom(h) {
		return false, nil
	}
	defer w.Gate.keepNone(h)
	limit := time.AfterFunc(joinTimeout, func() { w.Gate.keepNone(h) })
	defer limit.Stop()
	to, isNow, err := w.end(ctx, w.joinPatience())
	if err != nil || !isNow {
		return false, err
	}
	passed, err := w.pass(ctx, h, to)
	if err != nil || !passed.ended {
		return false, err
	}
	dropped, err := w.Rows.isDropped(ctx, h)
	if err != nil {
		return false, err
	}
	beginsNone, ok := w.blockBegins(h)
	if !ok {
		return false, nil
	}
	defer beginsNone()
	if !w.Gate.isShown(h, passed.known, w.firstXID) || !w.Gate.join(h, passed.known) {
		return false, nil
	}
	if dropped {
		w.logDropped(h)
	} else {
		w.logRemoved(h)
	}
	if err := w.Store.Join(ctx, h.stored.place(), passed.to.Snapshot, passed.to.LSN); err != nil {
		return false, err
	}
	w.Gate.joined(h, passed.known)
	w.Log.With(h.stored.place().attrs()...).Info("every event that waited in the outbox table is delivered",
		"event", "deferral_ended", "known", passed.to.Snapshot)
	return true, nil
}

// joinPatience is the patience of an attempt to join. Kept events stay in the window. If that is
// full, the stream is not read up to To as long as they are kept, and every other event waits too.
func (w *Worker) joinPatience() func(waited time.Duration) bool {
	var fullSince time.Duration
	return func(waited time.Duration) bool {
		if !w.isFull() {
			fullSince = waited
		}
		return waited < joinTimeout && waited-fullSince < longestFull
	}
}

// blockBegins prevents a deferral of the destinations that may get kept events, until unblock is
// called. It would count such an event as done: neither the table nor delivery has it yet. It
// reports false if a deferral is just beginning.
func (w *Worker) blockBegins(h *held) (unblock func(), ok bool) {
	var locked []*relief
	unblock = func() {
		for _, r := range locked {
			r.beginMu.Unlock()
		}
	}
	for i, name := range w.Names {
		if name != h.stored.Destination && len(h.routes) == 0 {
			continue
		}
		r := &w.relieved[i]
		if !r.beginMu.TryLock() {
			unblock()
			return nil, false
		}
		locked = append(locked, r)
	}
	return unblock, true
}

// logRemoved logs how many of the rows that the gate has dropped in this session no pass has
// found. The passes have looked at everything that was dropped, so these rows were removed before
// they were delivered.
func (w *Worker) logRemoved(h *held) {
	removed := w.Gate.unseen(h)
	if removed == 0 {
		return
	}
	w.removed.Store(true)
	w.Observer.Removed(h.stored.Destination, removed)
	w.Log.With(h.stored.place().attrs()...).Error("rows were removed from the outbox table before their events "+
		"were delivered: with RELAY_ROWS_STAY=deny no event waits there", "event", "rows_removed", "events", removed)
}
