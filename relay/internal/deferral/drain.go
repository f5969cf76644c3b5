package deferral

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// inFlight bounds the events of a pass that are with delivery, beside Worker.MaxBytes.
	inFlight = 1000
	// eventOverhead is the approximate memory of an event beside its row, in bytes.
	eventOverhead = 512
	// markInterval is how often a long pass stores how far it is.
	markInterval = time.Second
	// smallPass is the size and the duration of a pass after which the stream is joined: rows that
	// come meanwhile are kept in memory.
	smallPass, shortPass = 1000, 500 * time.Millisecond
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
			w.note(ctx, err)
		}
		if failed = err != nil; done || w.turns.isOver(h) {
			return nil
		}
		reading := time.Since(began) - (h.waited - waited)
		pause = max(leastPause(h), min(share*reading, longestPause))
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

// step makes a pass, and then tries to join the stream if the pass was small.
func (w *Worker) step(ctx context.Context, h *held) (joined bool, err error) {
	to, isNow, err := w.end(ctx, func(waited time.Duration) bool { return waited < refreshTimeout })
	began := time.Now()
	if err != nil || to.Snapshot == "" || !isNow && !h.mark.isCoveredBy(to.Snapshot) {
		return false, err
	}
	passed, err := w.pass(ctx, h, to)
	if err != nil || !passed.ended || passed.events > smallPass || time.Since(began) > shortPass {
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
		w.tellDropped(h)
	} else {
		w.tellRemoved(h)
	}
	if err := w.Store.Join(ctx, h.stored.place(), passed.to.Snapshot, passed.to.LSN); err != nil {
		return false, err
	}
	w.Gate.joined(h, passed.known)
	w.Log.With(h.stored.place().attrs()...).Info("events wait in the outbox table no more",
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
			r.begins.Unlock()
		}
	}
	for i, name := range w.Names {
		if name != h.stored.Destination && len(h.routes) == 0 {
			continue
		}
		r := &w.relieved[i]
		if !r.begins.TryLock() {
			unblock()
			return nil, false
		}
		locked = append(locked, r)
	}
	return unblock, true
}

// tellRemoved logs how many of the rows that the gate has dropped in this session no pass has
// found. The passes have looked at everything that was dropped, so these rows were removed before
// they were delivered.
func (w *Worker) tellRemoved(h *held) {
	removed := w.Gate.unseen(h)
	if removed == 0 {
		return
	}
	w.removed.Store(true)
	w.Observer.Removed(h.stored.Destination, removed)
	w.Log.With(h.stored.place().attrs()...).Error("rows were removed from the outbox table before their events "+
		"were delivered: with RELAY_ROWS_STAY=deny no event waits there", "event", "rows_removed", "events", removed)
}

// passed is a pass that has ended.
type passed struct {
	to     Observation
	known  pgsnapshot.Snapshot // that of to
	events int                 // sent
	ended  bool                // false: the turn of the group was over before
}

// end returns the snapshot up to which a pass goes, and whether it is that of this moment. The
// stream was read past it. While the window is full of the events of another destination, the
// stream is hardly read. After patience the pass goes up to the last snapshot that it was read
// past. It is empty if there is none.
func (w *Worker) end(
	ctx context.Context, patience func(waited time.Duration) bool,
) (to Observation, isNow bool, err error) {
	if to, err = w.Store.Observe(ctx); err != nil {
		return to, false, err
	}
	if isNow, err = w.awaitPassed(ctx, to, patience); err != nil || isNow {
		return to, isNow, err
	}
	return w.Gate.lastPassed(), false, nil
}

// pass delivers the rows that are visible in a snapshot and not done. The stream was read past the
// snapshot.
func (w *Worker) pass(ctx context.Context, h *held, to Observation) (p passed, err error) {
	p.to = to
	if p.known, err = pgsnapshot.Parse(to.Snapshot); err != nil {
		return p, err
	}
	w.Gate.passes(h, &p.known)
	defer w.Gate.passes(h, nil)
	if h.mark.fromSeq == endless && h.mark.known.String() == to.Snapshot {
		h.idle++
		p.ended = true
		return p, nil
	}
	first, err := w.Rows.first(ctx, h, h.mark)
	if err != nil {
		return p, err
	}
	if first == endless {
		h.idle++
		p.ended = true
		return p, w.store(ctx, h, p, endless, 0)
	}
	t, err := w.send(ctx, h, p, first-1)
	p.events, p.ended = t.events, t.ended
	if err != nil {
		return p, err
	}
	if h.idle++; p.events > 0 {
		h.idle = 0
	}
	w.Gate.forgetDelivered(h)
	if !p.ended {
		return p, t.save(ctx)
	}
	h.top = t.topAfter()
	return p, w.store(ctx, h, p, endless, t.flight.settled())
}

// send delivers the rows of a pass behind the seq after. It stops early once the turn of a group is
// over.
func (w *Worker) send(ctx context.Context, h *held, p passed, after int64) (t *transfer, err error) {
	t = &transfer{
		Worker: w, held: h, passed: p, mark: h.mark, top: h.top, after: after, flight: newFlight(after), saved: after,
		markedAt: time.Now(), destinations: map[int]bool{},
	}
	w.Gate.flies(h, t.flight)
	defer w.Gate.flies(h, nil)
	defer func() {
		switch {
		case ctx.Err() != nil:
			err = errors.Join(err, t.end(ctx))
		case errors.Is(err, errTurnOver):
			recalling, cancel := context.WithTimeout(ctx, holdTimeout)
			t.recall(recalling)
			cancel()
			err = errors.Join(err, t.save(ctx))
		}
	}()
	for failed := false; ; {
		look, err := t.part(ctx)
		switch {
		case ctx.Err() != nil || isFinal(err) || errors.Is(err, errTurnOver):
			return t, errors.Join(err, ctx.Err())
		case err != nil: // the events in flight stay, and the pass continues behind them
			failed = true
			w.note(ctx, err)
			if err := t.save(ctx); err != nil {
				return t, err
			}
			task.Sleep(ctx, retryPause)
			continue
		case failed:
			failed = false
			w.note(ctx, nil)
		}
		if t.ended = look.end; t.ended || w.turns.isOver(h) && t.isBehindDone(t.after) {
			return t, t.await(ctx, t.flight.isEmpty)
		}
	}
}

// store stores that everything visible in the snapshot of a pass is done below a seq, and how many
// events of it were delivered.
func (w *Worker) store(ctx context.Context, h *held, p passed, fromSeq, delivered int64) error {
	waiting := w.Gate.dropped(h) - delivered
	if err := w.Store.Pass(ctx, h.stored.place(), p.to.Snapshot, fromSeq, waiting); err != nil {
		return err
	}
	w.Gate.advance(h, mark{p.known, fromSeq})
	return nil
}
