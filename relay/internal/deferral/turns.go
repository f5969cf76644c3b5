package deferral

import (
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
	groups   int  // of these
	waiting  bool // whether a group waits for its turn
}

// next returns the deferrals that are to be drained from now on. all are those that wait.
func (t *turns) next(all []*held) (next []*held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining == nil {
		t.draining = map[*held]bool{}
	}
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
		t.draining[h] = true
		h.turnEnds = time.Now().Add(groupTurn)
	}
	return next
}

// ended ends the turn of a deferral.
func (t *turns) ended(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.draining, h); h.isGroup() {
		t.groups--
	}
}

// isOver reports whether another group waits for the turn of h.
func (t *turns) isOver(h *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return h.isGroup() && t.waiting && time.Now().After(h.turnEnds)
}
