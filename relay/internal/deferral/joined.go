package deferral

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// Rows that came with a table or a partition are judged like those of the stream, by the mark. But
// the stream was not read past them, and they may be far below the rows that were delivered.

// SendJoined is Send for the event of a row that came with a table or a partition, and that the log
// did not bring. It reports false if the event has to wait: the pass under way, or the last one
// before a join, will count the row as done, and may have looked before the table had the row.
func (g *Gate) SendJoined(destination int, e *delivery.Event) (sent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if destination != route.Dropped && g.mayOvertake(destination, e) {
		return false
	}
	g.send(destination, []*delivery.Event{e})
	return true
}

// mayOvertake reports whether the pass of the deferral that decides about a row shows the row as
// done at its end, although the row is not done now. g.mu is held.
func (g *Gate) mayOvertake(destination int, e *delivery.Event) bool {
	xid, seq, ok := e.Row.Numbers()
	for _, h := range g.deciding(destination, e) {
		if h != nil && h.mode != joined {
			return ok && !h.mark.done(xid, seq) &&
				(h.mode != deferred || h.passing != nil && h.passing.Visible(xid))
		}
	}
	return false
}

// lower moves the mark of a deferral to the stored one, whose seq is lower. withdraw takes the
// events that delivery holds, if the deferral covers them.
func (g *Gate) lower(h *held, fromSeq int64, withdraw func(covered func(*delivery.Event) bool) []*delivery.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.mark.fromSeq = fromSeq
	g.delivery.HandOver(withdraw(func(e *delivery.Event) bool { return e.Joined && h.judge(e) == drop }))
}

// lower has rows wait in the table that came with a table or a partition, that the deferral of
// their group counts as done, and that a dead letter blocks. They are parked where the table does
// not show them. Rows above the lowest of them that an earlier session delivered come again.
func (w *Worker) lower(ctx context.Context, destination int, group string, h *held) error {
	if !w.turns.take(h) {
		return nil // the next look tries again
	}
	defer w.turns.giveBack(h)
	release, err := w.holdGroup(ctx, destination, group)
	if release == nil {
		return err
	}
	defer release()
	var seqs []int64
	behind := 0
	w.Senders.WaitingOf(destination, group, func(e *delivery.Event) {
		if !e.Behind {
			return
		}
		behind++
		if _, seq, ok := e.Row.Numbers(); ok {
			seqs = append(seqs, seq)
		}
	})
	if behind == 0 {
		return nil
	}
	visible, err := w.Rows.areVisible(ctx, seqs)
	if err != nil {
		return err
	}
	if !visible || len(seqs) == 0 {
		w.Senders.ParkBehind(destination, group)
		return nil
	}
	from := min(h.mark.fromSeq, slices.Min(seqs))
	if err := w.Store.Pass(ctx, h.stored.place(), h.mark.known.String(), from, w.Gate.dropped(h)); err != nil {
		return err
	}
	h.top = endless
	w.Gate.lower(h, from, func(wanted func(*delivery.Event) bool) []*delivery.Event {
		return w.Senders.WithdrawGroup(destination, group, wanted)
	})
	return nil
}
