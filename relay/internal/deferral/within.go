package deferral

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// The pass of a destination is as far as its first event that is not delivered. An aggregate with
// very many rows in the pass holds up every other one, because it has one request in flight. Such
// an aggregate gets a deferral of its own, and the pass continues without it.

// passInterval is how often the Worker looks whether an aggregate holds up a pass.
const passInterval = 100 * time.Millisecond

// lookWithin defers the aggregates that hold up the pass of their destination.
func (w *Worker) lookWithin(ctx context.Context) error {
	if !w.Groups || w.removed.Load() {
		return nil
	}
	for i, name := range w.Names {
		all := w.Gate.waiting(key{destination: name})
		if all == nil {
			continue
		}
		if passing, _ := w.Gate.passOf(all); passing != nil {
			if err := w.relievePass(ctx, i, all, passing); err != nil {
				return err
			}
		}
	}
	return nil
}

// relievePass defers the group of the first event that is not settled, if the group has used up its
// share of the flight. Settled events behind that one count, as in the window.
func (w *Worker) relievePass(ctx context.Context, destination int, all *held, passing *flight) error {
	first, settled := passing.head()
	if first == nil {
		return nil
	}
	k := key{w.Names[destination], first.Message.GroupID}
	events, bytes, isFar := w.Senders.FarBehind(destination, k.group)
	isOver := windowDivisor*(events+settled) >= inFlight || windowDivisor*bytes >= w.MaxBytes
	if !isFar || !isOver || w.Gate.count() >= maxDeferrals {
		return nil
	}
	return w.beginBusy(ctx, destination, all, first)
}

func (w *Worker) beginBusy(ctx context.Context, destination int, all *held, first *delivery.Event) error {
	beginMu := &w.relieved[destination].beginMu
	if !beginMu.TryLock() { // the next look tries again
		return nil
	}
	defer beginMu.Unlock()
	group := first.Message.GroupID
	seq, err := first.Row.Seq()
	if err != nil {
		return err
	}
	place, found, err := w.placeOf(ctx, destination, group, seq)
	if !found || err != nil {
		return err
	}
	release, err := w.holdGroup(ctx, destination, group)
	if release == nil {
		return err
	}
	defer release()
	_, err = w.deferWithin(ctx, destination, all, place, reasonShare)
	return err
}
