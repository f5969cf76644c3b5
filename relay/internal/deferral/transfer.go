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
	take := func(seq int64, e *outbox.Envelope) error { return t.take(ctx, seq, e) }
	if err := t.Rows.read(ctx, found.seqs, take); err != nil {
		return look{}, err
	}
	t.after = max(t.after, found.last)
	return found, nil
}

// wants reports whether a row belongs to the deferral: any of its routes leads it there, and no
// other deferral has it. A row that was delivered shortly before the deferral began is not sent
// again in this session.
func (t *transfer) wants(e *outbox.Envelope, seq int64, isSeen bool) bool {
	if isSeen && t.Gate.wasDelivered(t.held, seq) {
		return false
	}
	now := ""
	if i := t.Router.Route(e); i != route.Dropped {
		now = t.Names[i]
	}
	return t.Gate.owner(e, now) == t.held
}

// take sends a row, when there is room for it.
func (t *transfer) take(ctx context.Context, seq int64, e *outbox.Envelope) error {
	rows, size := inFlight, t.MaxBytes
	if t.held.isGroup() {
		rows, size = groupInFlight, t.MaxBytes/groupTurns
	}
	if err := t.await(ctx, func() bool { return t.flight.hasRoom(rows, size) }); err != nil {
		return err
	}
	size = len(e.Payload) + len(e.Headers) + eventOverhead
	event := &delivery.Event{Row: delivery.Row{Sequence: e.Sequence, XID: e.XID, Source: e.Source}}
	t.flight.add(seq, size, event)
	routed := t.Router.Message(e, &event.Message)
	event.Unusable(routed.ProblemCode, routed.Problem)
	event.HeadersDropped = routed.DroppedHeaders
	if routed.Destination != route.Dropped {
		t.destinations[routed.Destination] = true
		t.events++
	}
	t.Senders.Send(routed.Destination, event)
	t.after = seq
	t.Gate.found(t.held, seq)
	return nil
}

// await waits until condition holds, and stores now and then how far the pass is.
func (t *transfer) await(ctx context.Context, condition func() bool) error {
	defer func(began time.Time) { t.held.waited += time.Since(began) }(time.Now())
	return t.flight.await(ctx, condition, func() error {
		if t.held.isGroup() && (t.mustYield(t.held) || t.turns.isOver(t.held) && t.isBehindDone(t.flight.passed())) {
			return errTurnOver
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
// other, which may take long, and would come again in the next session.
func (t *transfer) recall(ctx context.Context) {
	group := t.held.stored.place().key().group
	for destination := range t.destinations {
		release, err := t.Senders.HoldGroup(ctx, destination, group)
		if err != nil {
			continue
		}
		t.Senders.WithdrawGroup(destination, group, t.flight.has)
		release()
	}
}
