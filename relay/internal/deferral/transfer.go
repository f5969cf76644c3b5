package deferral

import (
	"context"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// transfer is a pass that is under way.
type transfer struct {
	*Worker
	held     *held
	passed   passed
	mark     mark  // as it was when the pass began
	top      int64 // as it was then
	after    int64 // rows up to this seq were sent, or do not wait
	highest  int64 // seq of the rows of the deferral that were due
	events   int   // sent
	ended    bool  // no row follows
	flight   *flight
	saved    int64 // last seq up to which the pass is stored
	markedAt time.Time

	destinations map[int]bool // to which rows were sent
}

// part sends the next rows.
func (t *transfer) part(ctx context.Context) (look, error) {
	found, err := t.Rows.next(ctx, t.held, t.mark, t.passed.to.Snapshot, t.after, t.wants)
	if err != nil {
		return look{}, err
	}
	awaitRoom := func() error { return t.awaitRoom(ctx) }
	send := func(page []outbox.Envelope) error { return t.sendPage(ctx, page) }
	if err := t.Rows.read(ctx, found.seqs, awaitRoom, send); err != nil {
		return look{}, err
	}
	t.after = max(t.after, found.last)
	return found, nil
}

// wants reports whether a row belongs to the deferral: any of its routes leads it there, and no
// other deferral has it. A row that was delivered shortly before the deferral began is not sent
// again in this session.
func (t *transfer) wants(e *outbox.Envelope, seq int64, isSeen bool) bool {
	t.highest = max(t.highest, seq)
	if isSeen && t.Gate.wasDelivered(t.held, seq) {
		return false
	}
	owner := t.Gate.owner(e, t.destinationOf(e))
	if owner != nil && owner != t.held {
		t.Gate.found(t.held, seq) // it was not removed
	}
	return owner == t.held
}

// destinationOf returns the destination to which the routes of now lead a row; empty if they drop
// it.
func (t *transfer) destinationOf(e *outbox.Envelope) string {
	if i := t.Router.Route(e); i != route.Dropped {
		return t.Names[i]
	}
	return ""
}

// sendPage sends rows in order. Those of a group that have a dead letter are not sent: one was
// stored after the deferral began, or the deferral counts its row as not done.
func (t *transfer) sendPage(ctx context.Context, page []outbox.Envelope) error {
	rest := page
	if t.held.isGroup() {
		var err error
		if rest, err = t.Store.withoutDeadLetters(ctx, t.held.stored.Destination, page); err != nil {
			return err
		}
	}
	last, err := page[len(page)-1].CommonSeq()
	if err != nil {
		return fmt.Errorf("row that waits behind seq %d: %w", t.after, err)
	}
	for i := range rest {
		seq, err := rest[i].CommonSeq()
		if err != nil {
			return fmt.Errorf("row that waits behind seq %d: %w", t.after, err)
		}
		if err := t.sendRow(ctx, seq, &rest[i]); err != nil {
			return err
		}
		rest[i] = outbox.Envelope{} // a row may have many MB, and the next one waits for room
	}
	t.after = max(t.after, last)
	return nil
}

// sendRow sends a row, when there is room for it. The row after it may have the same seq.
func (t *transfer) sendRow(ctx context.Context, seq int64, e *outbox.Envelope) error {
	t.after = max(t.after, seq-1)
	if err := t.awaitRoom(ctx); err != nil {
		return err
	}
	size := len(e.Payload) + len(e.Headers) + eventOverhead
	event := &delivery.Event{Row: delivery.Row{Sequence: e.Sequence, XID: e.XID, Source: e.Source}}
	routed := t.Router.Message(e, &event.Message)
	event.MarkUnusable(routed.ProblemCode, routed.Problem)
	event.HeadersDropped = routed.DroppedHeaders
	isOwn := t.Gate.sendOwn(t.held, e, t.destinationOf(e), func() {
		t.flight.add(seq, size, event)
		t.Senders.Send(routed.Destination, event)
	})
	if isOwn && routed.Destination != route.Dropped {
		t.destinations[routed.Destination] = true
		t.events++
	}
	t.Gate.found(t.held, seq)
	return nil
}

// awaitRoom waits until a further row may be in flight.
func (t *transfer) awaitRoom(ctx context.Context) error {
	rows, size := inFlight, t.MaxBytes
	if t.held.isGroup() {
		rows, size = groupInFlight, t.MaxBytes/groupTurns
	}
	return t.await(ctx, func() bool { return t.flight.hasRoom(rows, size) })
}

// await waits until condition holds, and stores now and then how far the pass is.
func (t *transfer) await(ctx context.Context, condition func() bool) error {
	defer func(began time.Time) { t.held.waited += time.Since(began) }(time.Now())
	return t.flight.await(ctx, condition, func() error {
		if t.held.isGroup() && (t.mustYield(t.held) || t.turns.isOver(t.held) && t.isBehindDone(t.flight.passed())) {
			return errTurnOver
		}
		if t.keepsTooMuch(t.held) {
			t.Gate.keepNone(t.held)
		}
		if time.Since(t.markedAt) < markInterval {
			return nil
		}
		return t.save(ctx)
	})
}

// save stores how far the pass is, unless rows behind that were done before: it would undo them.
func (t *transfer) save(ctx context.Context) error {
	t.markedAt = time.Now()
	last := t.flight.passed()
	if t.flight.isEmpty() {
		last = t.after
	}
	if !t.isBehindDone(last) || last == t.saved {
		return t.storeWaiting(ctx, t.held)
	}
	t.held.top, t.saved = endless, last
	if err := t.store(ctx, t.held, t.passed, last+1, t.flight.settled()); err != nil {
		return fmt.Errorf("after seq %d: %w", last, err)
	}
	return nil
}

// isBehindDone reports whether no row behind last was done before the pass.
func (t *transfer) isBehindDone(last int64) bool { return last >= min(t.mark.fromSeq-1, t.top) }

// topAfter returns the top of the deferral once the pass has ended.
func (t *transfer) topAfter() int64 {
	if !t.held.isGroup() {
		return t.after
	}
	return max(min(t.mark.fromSeq-1, t.top), t.highest)
}

// end waits for events in flight when the Worker has to end, and stores how far the pass is.
func (t *transfer) end(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	if t.held.isGroup() {
		t.recall(waiting)
		return t.save(ctx)
	}
	_ = t.flight.await(waiting, t.flight.isEmpty, func() error { return nil })
	return t.save(ctx)
}

// recall takes back the events of a group that no request has: they are sent one request after the
// other, which may take long, and would come again in the next session. If a request has one of
// them for longer than ctx lasts, they stay with delivery, and [Worker.recallStrays] finds them
// later.
func (t *transfer) recall(ctx context.Context) {
	group := t.held.stored.place().key().group
	for destination := range t.destinations {
		release, err := t.Senders.HoldGroup(ctx, destination, group)
		if err != nil {
			t.Gate.setStrays(t.held, t.flight)
			continue
		}
		t.Senders.WithdrawGroup(destination, group, t.flight.has)
		release()
	}
}
