package deferral

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// shareInterval is how often the Worker looks at the load of the window. A fast stream fills
	// half of it in about a tenth of a second. crowdedInterval is the interval while the window is
	// half full and no group is at fault, as in a backlog: the look then reads every group.
	shareInterval, crowdedInterval = 25 * time.Millisecond, 100 * time.Millisecond
	// windowDivisor divides the window: one message group may hold a quarter of it. Delivered
	// events behind its first one count, because they stay in the window until that one is
	// delivered.
	windowDivisor = 4
	// holdTimeout bounds the wait for the request that has events of a group.
	holdTimeout = time.Second
	// maxDeferrals bounds the deferrals of a slot, at about 1 KB each. Beyond that, whole
	// destinations are deferred.
	maxDeferrals = 1 << 14
	// maxAggregate bounds type and id of an aggregate that is deferred, in bytes. An entry of a
	// B-tree holds 2,704 in all.
	maxAggregate = 1024
	// refusedFor is how long a group that cannot be deferred is not looked at again, so that it
	// hides no other. Rows that are not visible yet may be so soon.
	refusedFor, invisibleFor = 2 * time.Second, 250 * time.Millisecond
)

// groupSenders is the part of [delivery.Delivery] with which message groups are deferred.
type groupSenders interface {
	// Busy returns groups of a destination that are far behind the others and not refused.
	Busy(destination int, isRefused func(group string) bool) []delivery.BusyGroup
	// FarBehind returns the waiting events of a group and their bytes, and whether the group is far
	// behind the others.
	FarBehind(destination int, group string) (events, bytes int, isFar bool)
	// HoldGroup waits until no request has events of a group, and starts none with such events
	// until release is called.
	HoldGroup(ctx context.Context, destination int, group string) (release func(), err error)
	// WaitingOf calls visit for each event of a group that no request has.
	WaitingOf(destination int, group string, visit func(*delivery.Event))
	// WithdrawGroup removes events from a group, which is held.
	WithdrawGroup(destination int, group string, wanted func(*delivery.Event) bool) []*delivery.Event
	// DeferBehind says whether events behind a dead letter wait instead of being parked.
	DeferBehind(destination int, wait bool)
	// Behind returns the groups of a destination whose first event waits behind a dead letter.
	Behind(destination int) []delivery.BehindGroup
	// ParkBehind has the waiting events of such a group parked.
	ParkBehind(destination int, group string)
}

// Window is the part of [checkpoint.Tracker] that tells how full the window is.
type Window interface {
	Load() checkpoint.Load
	// HeldUpBy returns how many delivered events stay in the window because of an open one.
	HeldUpBy(h checkpoint.Handle) (events, bytes int)
}

// watchShares defers message groups that use up their share of the window, until ctx ends.
func (w *Worker) watchShares(ctx context.Context) error {
	if !w.Groups {
		return nil
	}
	failed := false
	for pause := shareInterval; task.Sleep(ctx, pause); {
		if pause = shareInterval; !w.isCrowded() {
			continue
		}
		begun, err := w.relieveWindow(ctx)
		if isFinal(err) {
			return err
		}
		if err != nil || failed {
			w.logRetry(ctx, err)
		}
		if failed = err != nil; failed {
			pause = retryPause
		} else if !begun {
			pause = crowdedInterval
		}
	}
	return nil
}

// isCrowded reports whether the window is at least half full.
func (w *Worker) isCrowded() bool {
	load := w.Window.Load()
	return 2*load.Events >= w.Bounds.Events || 2*load.Bytes >= w.Bounds.Bytes
}

// relieveWindow defers the groups that hold too much of the window, and reports whether there was
// one.
func (w *Worker) relieveWindow(ctx context.Context) (begun bool, err error) {
	if w.Gate.Past() == "" || w.removed.Load() || !w.hasBegun() {
		return false, nil
	}
	for i, name := range w.Names {
		for _, busy := range w.Senders.Busy(i, w.refused.of(name)) {
			if !w.isOverShare(busy) || w.Gate.holds(name) || w.Gate.holdsGroup(name, busy.Group) {
				continue
			}
			if err := w.beginGroup(ctx, i, busy); err != nil {
				return begun, err
			}
			begun = true
		}
	}
	return begun, nil
}

func (w *Worker) isOverShare(busy delivery.BusyGroup) bool {
	events, bytes := w.Window.HeldUpBy(busy.First)
	return windowDivisor*(events+busy.Events) >= w.Bounds.Events ||
		windowDivisor*(bytes+busy.Bytes) >= w.Bounds.Bytes
}

// isFull reports whether the window has no room for further events.
func (w *Worker) isFull() bool {
	load := w.Window.Load()
	return load.Events >= w.Bounds.Events || load.Bytes >= w.Bounds.Bytes
}

// beginGroup defers the events of a group, if the table has the rows of all events that wait. It
// does not if rows are deleted as soon as they are written, or if their commits await a standby.
func (w *Worker) beginGroup(ctx context.Context, destination int, busy delivery.BusyGroup) error {
	w.relieved[destination].beginMu.Lock()
	defer w.relieved[destination].beginMu.Unlock()
	if w.Gate.count() >= maxDeferrals {
		if w.CannotPause != "" {
			w.refused.add(key{w.Names[destination], busy.Group}, refusedFor)
			return nil
		}
		return w.begin(ctx, destination, cause{
			text: "too many aggregates are behind", since: time.Now(),
			holds: func(events int) bool { return events > 0 },
		})
	}
	place, found, err := w.placeOfBusy(ctx, destination, busy)
	if err != nil {
		return err
	}
	if !found {
		w.refused.add(key{w.Names[destination], busy.Group}, refusedFor)
		return nil
	}
	release, err := w.holdGroup(ctx, destination, busy.Group)
	if release == nil {
		return err
	}
	defer release()
	now, err := w.refresh(ctx) // it shows every event of the group that was delivered
	if err != nil {
		return err
	}
	begun, err := w.deferHeld(ctx, destination, place, now, math.MinInt64, reasonShare)
	if !begun && err == nil {
		w.refused.add(key{place.Destination, busy.Group}, invisibleFor)
	}
	return err
}

// holdGroup holds a group, unless the request that has events of it takes too long: release is then
// nil, and the next look tries again.
func (w *Worker) holdGroup(ctx context.Context, destination int, group string) (release func(), err error) {
	holding, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	release, err = w.Senders.HoldGroup(holding, destination, group)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, ctx.Err()
	}
	return release, err
}

// deferHeld defers the waiting events of a group, which is held. now shows every event of the group
// that was delivered. deferHeld reports false if the table does not show all that wait, or if none
// does. Rows that came with a table or a partition, and that are below from, stay in delivery.
func (w *Worker) deferHeld(
	ctx context.Context, destination int, place Place, now Observation, from int64, reason string,
) (begun bool, err error) {
	known := w.Gate.Past() // before the events are looked at: later ones are not visible in it
	group := place.key().group
	var seqs []int64
	w.Senders.WaitingOf(destination, group, func(e *delivery.Event) {
		if _, seq, ok := e.Row.Numbers(); ok && (!e.Joined || seq >= from) {
			seqs = append(seqs, seq)
		}
	})
	visible, err := w.Rows.areVisible(ctx, seqs)
	if !visible || err != nil || len(seqs) == 0 || known == "" || w.Gate.holds(place.Destination) {
		return false, err
	}
	return true, w.enter(ctx, Deferral{
		Destination: place.Destination, Table: place.Table,
		AggregateType: place.AggregateType, AggregateID: place.AggregateID,
		Known: known, FromSeq: fromSeqOf(slices.Min(seqs)), Reason: reason, Since: time.Now(),
	}, now.Snapshot, w.beginner(func(covered func(*delivery.Event) bool) []*delivery.Event {
		return w.Senders.WithdrawGroup(destination, group, covered)
	}))
}

// reasonShare says why the events of an aggregate wait.
const reasonShare = "the events of the aggregate come faster than one request after the other delivers them"

// placeOfBusy is placeOf for a busy group.
func (w *Worker) placeOfBusy(
	ctx context.Context, destination int, busy delivery.BusyGroup,
) (p Place, found bool, err error) {
	_, seq, ok := busy.Row.Numbers()
	if !ok {
		return p, false, nil
	}
	return w.placeOf(ctx, destination, busy.Group, seq)
}

// placeOf returns the aggregate of a group, as the row with this seq has it. It reports false if
// the aggregate cannot be deferred.
func (w *Worker) placeOf(
	ctx context.Context, destination int, group string, seq int64,
) (p Place, found bool, err error) {
	p, found, err = w.Rows.placeOf(ctx, w.Names[destination], seq)
	if err != nil || !found || len(p.storedType())+len(p.AggregateID) > maxAggregate {
		return p, false, err
	}
	return p, p.IsGroup() && p.key().group == group, nil
}
