package deferral

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
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
	// passPause is the least pause between two passes, and retryPause that after an error. A pass
	// that reads much of the table, because an old transaction is open, takes a third of the time.
	passPause, retryPause = 100 * time.Millisecond, time.Second
	share, longestPause   = 2, 5 * time.Second
	// reachInterval is between two looks whether the stream was read past a snapshot.
	reachInterval = 10 * time.Millisecond
	// lastWait bounds how long the Worker waits at its end for events that are in flight, so that
	// they do not come again.
	lastWait = 300 * time.Millisecond
)

// drain delivers the waiting rows, in passes, until the stream is joined or ctx ends.
func (w *Worker) drain(ctx context.Context, h *held) error {
	defer w.Gate.keepNone(h)
	failed := false
	for pause := time.Duration(0); task.Sleep(ctx, pause); {
		began := time.Now()
		done, err := w.step(ctx, h)
		if isFinal(err) {
			return err
		}
		if err != nil || failed {
			w.note(ctx, err)
		}
		if failed = err != nil; done {
			return nil
		}
		pause = max(passPause, min(share*time.Since(began), longestPause))
		if failed {
			pause = retryPause
		}
	}
	return nil
}

// step makes a pass, and then tries to join the stream if the pass was small.
func (w *Worker) step(ctx context.Context, h *held) (joined bool, err error) {
	began := time.Now()
	passed, err := w.pass(ctx, h)
	if err != nil || passed.events > smallPass || time.Since(began) > shortPass {
		return false, err
	}
	return w.join(ctx, h)
}

// join is J1 to J5. It reports false where the gate could not keep everything, or where the
// snapshot does not show yet the rows that were dropped.
func (w *Worker) join(ctx context.Context, h *held) (bool, error) {
	w.Gate.keepFrom(h)
	defer w.Gate.keepNone(h)
	limit := time.AfterFunc(joinTimeout, func() { w.Gate.keepNone(h) })
	defer limit.Stop()
	passed, err := w.pass(ctx, h)
	if err != nil {
		return false, err
	}
	if !w.Gate.isShown(h, passed.known, w.firstXID) || !w.Gate.join(h) {
		return false, nil
	}
	w.tellRemoved(h)
	if err := w.Store.Join(ctx, h.stored.Destination, passed.to.Snapshot, passed.to.LSN); err != nil {
		return false, err
	}
	w.Gate.joined(h, passed.known)
	w.Log.Info("events of the destination wait in the outbox table no more", "event", "deferral_ended",
		"destination", h.stored.Destination, "known", passed.to.Snapshot)
	return true, nil
}

// tellRemoved logs that fewer rows were found than the gate has dropped in this session: the others
// were removed before they were delivered.
func (w *Worker) tellRemoved(h *held) {
	removed := w.Gate.droppedInAll(h) - h.found
	if removed <= 0 {
		return
	}
	w.Observer.Removed(h.stored.Destination, removed)
	w.Log.Error("rows were removed from the outbox table before their events were delivered: RELAY_ROWS_STAY=deny "+
		"keeps such events as dead letters", "event", "rows_removed", "destination", h.stored.Destination,
		"events", removed)
}

// passed is a pass that has ended.
type passed struct {
	to     Observation
	known  pgsnapshot.Snapshot // that of to
	events int                 // sent
	rest   int64               // of these, not stored yet as delivered
}

// pass delivers the rows that are visible in a snapshot of this moment and not done.
func (w *Worker) pass(ctx context.Context, h *held) (p passed, err error) {
	if p.to, err = w.Store.Observe(ctx); err != nil {
		return p, err
	}
	if p.known, err = pgsnapshot.Parse(p.to.Snapshot); err != nil {
		return p, err
	}
	if err := w.awaitReached(ctx, p.to); err != nil {
		return p, err
	}
	first, err := w.Rows.first(ctx, h.mark)
	if err != nil {
		return p, err
	}
	if first != endless {
		if p.events, p.rest, err = w.send(ctx, h, p, first-1); err != nil {
			return p, err
		}
	}
	return p, w.store(ctx, h, p, endless, p.rest)
}

// awaitReached waits until the stream was read past a snapshot. It may wait for room in the window.
func (w *Worker) awaitReached(ctx context.Context, to Observation) error {
	for !w.Gate.HasReached(to.LSN) {
		if !task.Sleep(ctx, reachInterval) {
			return ctx.Err()
		}
	}
	return nil
}

// send delivers the rows of a pass behind the seq after.
func (w *Worker) send(ctx context.Context, h *held, p passed, after int64) (events int, rest int64, err error) {
	t := &transfer{
		Worker: w, held: h, passed: p, mark: h.mark, after: after, flight: newFlight(after), markedAt: time.Now(),
	}
	defer func() {
		if ctx.Err() != nil {
			err = errors.Join(err, t.end(ctx))
		}
	}()
	for failed := false; ; {
		look, err := t.part(ctx)
		switch {
		case ctx.Err() != nil || isFinal(err):
			return t.events, 0, errors.Join(err, ctx.Err())
		case err != nil: // the events in flight stay, and the pass continues behind them
			failed = true
			w.note(ctx, err)
			if err := t.save(ctx); err != nil {
				return t.events, 0, err
			}
			task.Sleep(ctx, retryPause)
			continue
		case failed:
			failed = false
			w.note(ctx, nil)
		}
		if look.end {
			err := t.await(ctx, t.flight.isEmpty)
			return t.events, t.flight.settled(), err
		}
	}
}

// store stores that everything visible in the snapshot of a pass is done below a seq, and how many
// events of it were delivered.
func (w *Worker) store(ctx context.Context, h *held, p passed, fromSeq, delivered int64) error {
	waiting := w.Gate.dropped(h) - delivered
	if err := w.Store.Pass(ctx, h.stored.Destination, p.to.Snapshot, fromSeq, waiting); err != nil {
		return err
	}
	w.Gate.advance(h, mark{p.known, fromSeq})
	return nil
}

// transfer is a pass that is under way.
type transfer struct {
	*Worker
	held     *held
	passed   passed
	mark     mark  // as it was when the pass began
	after    int64 // rows up to this seq were sent, or do not wait
	events   int   // sent
	flight   *flight
	markedAt time.Time
}

// part sends the next rows.
func (t *transfer) part(ctx context.Context) (look, error) {
	found, err := t.Rows.next(ctx, t.mark, t.passed.to.Snapshot, t.after, t.wants)
	if err != nil {
		return look{}, err
	}
	take := func(seq int64, e *outbox.Envelope) error { return t.take(ctx, seq, e) }
	if err := t.Rows.read(ctx, found.seqs, take); err != nil {
		return look{}, err
	}
	t.after = max(t.after, found.last)
	return found, nil
}

// wants reports whether a row belongs to the deferral: any of its routes leads it there. A row that
// was delivered shortly before the deferral began is not sent again in this session.
func (t *transfer) wants(e *outbox.Envelope, seq int64, isKnown bool) bool {
	if isKnown && t.held.wasDelivered(t.mark, seq) {
		return false
	}
	if owner := t.Gate.owner(e); owner != "" {
		return owner == t.held.stored.Destination
	}
	destination := t.Router.Route(e)
	return destination != route.Dropped && t.Names[destination] == t.held.stored.Destination
}

// take sends a row, when there is room for it.
func (t *transfer) take(ctx context.Context, seq int64, e *outbox.Envelope) error {
	if err := t.await(ctx, func() bool { return t.flight.hasRoom(inFlight, t.MaxBytes) }); err != nil {
		return err
	}
	size := len(e.Payload) + len(e.Headers) + eventOverhead
	event := &delivery.Event{Row: delivery.Row{Sequence: e.Sequence, XID: e.XID}, Settled: t.flight.add(seq, size)}
	routed := t.Router.Message(e, &event.Message)
	event.Unusable(routed.ProblemCode, routed.Problem)
	event.HeadersDropped = routed.DroppedHeaders
	t.Senders.Send(routed.Destination, event)
	t.after = seq
	if routed.Destination != route.Dropped { // the gate has dropped no such row in this session
		t.events++
		t.held.found++
	}
	return nil
}

// await waits until condition holds, and stores now and then how far the pass is.
func (t *transfer) await(ctx context.Context, condition func() bool) error {
	return t.flight.await(ctx, condition, func() error {
		if time.Since(t.markedAt) < markInterval {
			return nil
		}
		return t.save(ctx)
	})
}

// save stores how far the pass is, unless rows between the pass and from_seq were done before: it
// would undo them.
func (t *transfer) save(ctx context.Context) error {
	t.markedAt = time.Now()
	last := t.flight.passed()
	if last+1 < t.mark.fromSeq {
		return nil
	}
	if err := t.store(ctx, t.held, t.passed, last+1, t.flight.settled()); err != nil {
		return fmt.Errorf("after seq %d: %w", last, err)
	}
	return nil
}

// end waits for events in flight when the Worker has to end, and stores how far the pass is.
func (t *transfer) end(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	_ = t.flight.await(waiting, t.flight.isEmpty, func() error { return nil })
	return t.save(ctx)
}
