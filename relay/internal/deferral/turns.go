package deferral

import (
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// groupTurns is how many message groups are delivered from the table at the same time. A pass
	// of each reads a part of the table and has events in memory.
	groupTurns = 64
	// groupTurn is how long a group is delivered before another one that waits has its turn.
	groupTurn = 10 * time.Second
	// groupInFlight bounds the events of a group that are with delivery. They are sent one request
	// after the other, so a few suffice.
	groupInFlight = 100
)

// turns decides which deferrals are drained. Destinations always are. Message groups take turns.
type turns struct {
	mu       sync.Mutex
	draining map[*held]bool
	groups   int            // of these
	of       map[string]int // of these groups, by destination
	waiting  bool           // whether a group waits for its turn
}

// init makes the zero value usable. t.mu is held.
func (t *turns) init() {
	if t.draining == nil {
		t.draining, t.of = map[*held]bool{}, map[string]int{}
	}
}

// next returns the deferrals that are to be drained from now on. all are those that wait.
func (t *turns) next(all []*held) (next []*held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.init()
	var groups []*held
	for _, h := range all {
		switch {
		case t.draining[h]:
		case h.isGroup():
			groups = append(groups, h)
		default:
			next = append(next, h)
		}
	}
	free := min(groupTurns-t.groups, len(groups))
	if t.waiting = free < len(groups); t.waiting {
		slices.SortFunc(groups, func(a, b *held) int { return a.turnEnds.Compare(b.turnEnds) })
	}
	next = append(next, groups[:free]...)
	t.groups += free
	for _, h := range next {
		if t.draining[h] = true; h.isGroup() {
			t.of[h.stored.Destination]++
		}
		h.turnEnds = time.Now().Add(groupTurn)
	}
	return next
}

// take keeps a group from being drained until [turns.giveBack], so that nothing else changes its
// mark. It reports false if the group is drained now. It is no turn, so it takes none from another
// group.
func (t *turns) take(h *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining[h] {
		return false
	}
	t.init()
	t.draining[h] = true
	return true
}

// giveBack ends [turns.take].
func (t *turns) giveBack(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.draining, h)
}

// ended ends the turn of a deferral.
func (t *turns) ended(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.draining, h); h.isGroup() {
		t.groups--
		t.of[h.stored.Destination]--
	}
}

// isDraining reports whether a deferral is drained.
func (t *turns) isDraining(h *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.draining[h]
}

// ofDestination returns how many groups of a destination have a turn.
func (t *turns) ofDestination(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[name]
}

// isOver reports whether another group waits for the turn of h.
func (t *turns) isOver(h *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return h.isGroup() && t.waiting && time.Now().After(h.turnEnds)
}

// errTurnOver ends the pass of a message group before its end, so that a group of another
// destination has its turn.
var errTurnOver = errors.New("the turn of the group is over")

// drainable returns the deferrals that may be drained. Groups of a paused destination and those
// behind a dead letter may not. Of those of an unavailable destination one may: its events are the
// requests that find out when the destination is available.
func (w *Worker) drainable(all []*held) (able []*held) {
	first := map[string]bool{} // unavailable destinations of which a group is among able
	for _, h := range all {
		name := h.stored.Destination
		switch {
		case !h.isGroup():
		case w.pauses.has(name), w.Gate.isBehind(h):
			continue
		case w.isUnavailable(name):
			if first[name] || w.turns.ofDestination(name) > 0 {
				continue
			}
			first[name] = true
		}
		able = append(able, h)
	}
	return able
}

// isUnavailable reports whether a destination has accepted nothing for the length of a turn.
func (w *Worker) isUnavailable(name string) bool {
	i := slices.Index(w.Names, name)
	if i < 0 {
		return false
	}
	since, overdue := w.Senders.Overdue(i)
	return overdue || !since.IsZero() && time.Since(since) > groupTurn
}

// mustYield reports whether the pass of a group has to end now.
func (w *Worker) mustYield(h *held) bool {
	name := h.stored.Destination
	return w.pauses.has(name) || w.Gate.isBehind(h) || w.isUnavailable(name) && w.turns.ofDestination(name) > 1
}
