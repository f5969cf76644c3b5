package deferral

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

const (
	// smallPass and shortPass are the size and the duration of a pass after which the stream is
	// joined in any case.
	smallPass, shortPass = 1000, 500 * time.Millisecond
	// longPass is the longest pass of a group after which the stream may be joined. The last pass
	// is about as long, and has to end within joinTimeout.
	longPass = joinTimeout / 2
	// nearDivisor divides the window: at most an eighth of it may pass through during such a pass.
	// After the join the group holds up about as much. That is half of the share with which the
	// group would be deferred again.
	nearDivisor = 2 * windowDivisor
)

// isNear reports whether the stream may be joined after a pass, while which so many events were
// delivered. The rows that come during the last pass are kept in memory. A group that gets nearly
// as much as one group can be sent finds nearly as many rows in each pass as in the one before it.
// So only the room for its kept events counts, and not the duration of a pass up to longPass.
func (w *Worker) isNear(h *held, p passed, took time.Duration, delivered uint64) bool {
	if p.events <= smallPass && took <= shortPass {
		return true
	}
	return h.isGroup() && took <= longPass && nearDivisor*delivered <= uint64(w.Bounds.Events)
}

// keepsTooMuch reports whether the events that the gate keeps for a group hold up its share of the
// window, because more events of others come than before.
func (w *Worker) keepsTooMuch(h *held) bool {
	if !h.isGroup() {
		return false
	}
	kept, found := w.Gate.keptOf(h)
	return found && w.isOverShare(kept)
}

// keptOf returns the first event that is kept for a deferral, and how many are; false without one.
func (g *Gate) keptOf(h *held) (all delivery.BusyGroup, found bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.mode != keeping || len(h.kept) == 0 {
		return all, false
	}
	return delivery.BusyGroup{First: h.kept[0].event.Handle, Events: len(h.kept), Bytes: h.keptBytes}, true
}

// restAfter returns the pause before the next pass. The time for which the pass waited until events
// were delivered counts, because it read nothing then.
func restAfter(h *held, took, waited time.Duration) time.Duration {
	return max(leastPause(h), min(share*(took-waited), longestPause)) - waited
}
