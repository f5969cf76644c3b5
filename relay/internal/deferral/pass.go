package deferral

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

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
	w.Gate.setPassing(h, &p.known)
	defer w.Gate.setPassing(h, nil)
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
		Worker: w, held: h, passed: p, mark: h.mark, top: h.top, after: after, saved: after,
		flight:   newFlight(after, min(h.mark.fromSeq-1, h.top)),
		markedAt: time.Now(), destinations: map[int]bool{},
	}
	w.Gate.setFlight(h, t.flight)
	defer w.Gate.setFlight(h, nil)
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
			w.logRetry(ctx, err)
			if err := t.save(ctx); err != nil {
				return t, err
			}
			task.Sleep(ctx, retryPause)
			continue
		case failed:
			failed = false
			w.logRetry(ctx, nil)
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
