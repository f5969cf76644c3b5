package deferral

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// behindInterval is how often the Worker looks for groups whose events wait behind a dead
	// letter. askInterval is how often it asks whether a group still does; if the answer takes
	// long, it asks less often.
	behindInterval, askInterval = 100 * time.Millisecond, time.Second
	// askDivisor divides the time: asking takes at most a twentieth of it.
	askDivisor = 20
	// visibleWithin bounds the wait until the table shows the events of such a group. Rows that are
	// deleted as soon as they are written never appear.
	visibleWithin = 2 * time.Second
	// lastLook bounds the look at the end of a session.
	lastLook = time.Second
	// countsStored bounds the deferrals whose number of waiting events is stored after an answer.
	countsStored = 20
)

const (
	// ReasonBehind says why the events of an aggregate wait behind a dead letter. reasonFollow
	// replaces it once the dead letter is redriven or discarded.
	ReasonBehind = "an earlier event of the aggregate is a dead letter: redrive or discard it"
	reasonFollow = "they waited behind a dead letter, and are being delivered"
)

// behindState is the memory of watchBehind.
type behindState struct {
	since map[key]time.Time // first look at a group that the table does not show
	askAt time.Time
}

// watchBehind defers the groups whose events wait behind a dead letter, and lets them be drained
// once no dead letter blocks them, until ctx ends.
func (w *Worker) watchBehind(ctx context.Context) error {
	if err := w.repeat(ctx, behindInterval, w.lookBehind); err != nil {
		return err
	}
	// Delivery waits for its events when the relay stops.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	return ignoreEnd(w.lookBehind(last))
}

// repeat calls look at an interval until ctx ends, and later if it has failed. It returns an error
// that ends the session.
func (w *Worker) repeat(ctx context.Context, interval time.Duration, look func(context.Context) error) error {
	failed := false
	for pause := interval; task.Sleep(ctx, pause); {
		err := look(ctx)
		if isFinal(err) {
			return err
		}
		if err != nil || failed {
			w.logRetry(ctx, err)
		}
		pause = interval
		if failed = err != nil; failed {
			pause = retryPause
		}
	}
	return nil
}

func (w *Worker) lookBehind(ctx context.Context) error {
	able := w.Groups && !w.removed.Load()
	for i := range w.Names {
		w.Senders.DeferBehind(i, able)
		all := w.Senders.Behind(i)
		if len(all) == 0 {
			continue
		}
		now, err := w.refresh(ctx) // no event of such a group is delivered meanwhile
		if err != nil {
			return err
		}
		if w.Gate.Past() == "" { // at first, no snapshot is known that the stream was read past
			continue
		}
		for _, b := range all {
			if err := w.deferBehind(ctx, i, b, now); err != nil {
				return err
			}
		}
	}
	return w.askBehind(ctx)
}

// deferBehind defers a group whose first event waits behind a dead letter. The events are parked,
// as if nothing could wait, where the table does not show them, or there are too many deferrals.
func (w *Worker) deferBehind(ctx context.Context, destination int, b delivery.BehindGroup, now Observation) error {
	beginMu := &w.relieved[destination].beginMu
	if !beginMu.TryLock() { // the next look tries again
		return nil
	}
	defer beginMu.Unlock()
	k := key{w.Names[destination], b.Group}
	if h := w.Gate.waiting(k); h != nil {
		w.Gate.setBehind(h, true)
		if w.turns.isDraining(h) { // its pass takes its events back
			return nil
		}
		if b.Joined {
			return w.lower(ctx, destination, b.Group, h)
		}
		return w.recallStrays(ctx, destination, b.Group, h)
	}
	begun, err := w.beginBehind(ctx, destination, b, now)
	if err != nil {
		return err
	}
	if begun || !w.isLong(k) {
		return nil
	}
	w.Log.Warn("events behind a dead letter become dead letters: they cannot wait in the outbox table",
		"event", "parked_behind", "destination", k.destination, "group", k.group)
	w.Senders.ParkBehind(destination, b.Group)
	return nil
}

// recallStrays withdraws the events that a pass of a group has left with delivery, because a
// request had one of them for long. They wait in the table. Without such events, those that wait
// behind the dead letter are parked.
func (w *Worker) recallStrays(ctx context.Context, destination int, group string, h *held) error {
	strays := w.Gate.straysOf(h)
	if strays == nil {
		w.Senders.ParkBehind(destination, group)
		return nil
	}
	release, err := w.holdGroup(ctx, destination, group)
	if release == nil { // the next look tries again
		return err
	}
	defer release()
	w.Senders.WithdrawGroup(destination, group, strays.has)
	w.Gate.setStrays(h, nil)
	return nil
}

// beginBehind begins the deferral of such a group, and reports whether it did.
func (w *Worker) beginBehind(
	ctx context.Context, destination int, b delivery.BehindGroup, now Observation,
) (begun bool, err error) {
	seq, err := b.Row.Seq()
	if err != nil || w.Gate.count() >= maxDeferrals {
		return false, nil
	}
	place, found, err := w.placeOf(ctx, destination, b.Group, seq)
	if !found || err != nil {
		return false, err
	}
	release, err := w.holdGroup(ctx, destination, b.Group)
	if release == nil {
		return false, err
	}
	defer release()
	if all := w.Gate.waiting(key{destination: place.Destination}); all != nil {
		begun, err = w.deferWithin(ctx, destination, all, place, ReasonBehind)
	} else {
		begun, err = w.deferHeld(ctx, destination, place, now, seq, ReasonBehind)
	}
	if begun {
		delete(w.behind.since, key{place.Destination, b.Group})
	}
	return begun, err
}

// isLong reports whether a group could not be deferred for long.
func (w *Worker) isLong(k key) bool {
	since, known := w.behind.since[k]
	switch {
	case !known:
		maps.DeleteFunc(w.behind.since, func(_ key, since time.Time) bool { return time.Since(since) > time.Minute })
		w.behind.since[k] = time.Now()
		return false
	case time.Since(since) < visibleWithin:
		return false
	}
	delete(w.behind.since, k)
	return true
}

// deferWithin defers a group, which is held, apart from its destination: the pass of the
// destination has sent events of it that wait. The pass goes in order of seq, so every row of the
// group below them that To shows is done. A deferral by earlier routes also owns the rows of its
// groups, so none leaves it.
func (w *Worker) deferWithin(
	ctx context.Context, destination int, all *held, p Place, reason string,
) (begun bool, err error) {
	passing, to := w.Gate.passOf(all)
	if passing == nil || to == nil || len(all.routes) > 0 {
		return false, nil
	}
	group := p.key().group
	var waiting []*delivery.Event
	w.Senders.WaitingOf(destination, group, func(e *delivery.Event) {
		if passing.has(e) {
			waiting = append(waiting, e)
		}
	})
	lowest := lowestOf(waiting)
	if len(waiting) == 0 || reason == reasonShare && passing.mayRepeat(lowest) {
		return false, nil
	}
	known := to.String()
	return true, w.enter(ctx, Deferral{
		Destination: p.Destination, Table: p.Table, AggregateType: p.AggregateType, AggregateID: p.AggregateID,
		Known: known, FromSeq: lowest, Reason: reason, Since: time.Now(),
	}, known, func(h *held) {
		w.Gate.beginWithin(h, all, func(wanted func(*delivery.Event) bool) []*delivery.Event {
			return w.Senders.WithdrawGroup(destination, group, wanted)
		})
	})
}

// askBehind lets those groups be drained that no dead letter blocks any more.
func (w *Worker) askBehind(ctx context.Context) error {
	all := w.Gate.behind()
	began := time.Now()
	if len(all) == 0 || began.Before(w.behind.askAt) {
		return nil
	}
	groups := make([]key, len(all))
	for i, h := range all {
		groups[i] = h.stored.place().key()
	}
	blocked, err := w.Store.areBlocked(ctx, groups)
	if err != nil {
		return err
	}
	w.ignoreMoved(blocked)
	w.behind.askAt = began.Add(max(askInterval, askDivisor*time.Since(began)))
	var free, still []*held
	for i, h := range all {
		if blocked[groups[i]] {
			still = append(still, h)
		} else {
			free = append(free, h)
		}
	}
	if err := errors.Join(w.explain(ctx, still, ReasonBehind), w.explain(ctx, free, reasonFollow)); err != nil {
		return err
	}
	for _, h := range free {
		w.Gate.setBehind(h, false)
	}
	return w.storeBehind(ctx, still)
}

// ignoreMoved removes the groups of destinations that no setting names: nothing is sent there, and
// a dead letter concerns its own destination alone.
func (w *Worker) ignoreMoved(blocked map[key]bool) {
	maps.DeleteFunc(blocked, func(k key, _ bool) bool { return !slices.Contains(w.Names, k.destination) })
}

// explain stores why the events of these deferrals wait, where that has changed. A deferral that
// never waited behind a dead letter keeps its reason.
func (w *Worker) explain(ctx context.Context, all []*held, reason string) error {
	var changed []*held
	var places []Place
	for _, h := range all {
		if h.storedReason != reason && (reason == ReasonBehind || h.storedReason == ReasonBehind) {
			changed, places = append(changed, h), append(places, h.stored.place())
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := w.Store.explain(ctx, places, reason); err != nil {
		return err
	}
	for _, h := range changed {
		h.storedReason = reason
		w.Log.With(h.stored.place().attrs()...).Info("events wait for another reason", "event", "deferral_explained",
			"reason", reason)
	}
	return nil
}

// storeBehind stores how many events wait for some of these deferrals: no pass does.
func (w *Worker) storeBehind(ctx context.Context, all []*held) error {
	stored := 0
	for _, h := range all {
		if stored == countsStored || w.turns.isDraining(h) || !w.Gate.hasCount(h) {
			continue
		}
		stored++
		if err := w.storeWaiting(ctx, h); err != nil {
			return err
		}
	}
	return nil
}
