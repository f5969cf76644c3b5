package deferral

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// The Worker changes the deferrals of a [Gate] by these methods.

// begin holds back the events of a destination from now on. Its deferral is stored. withdraw takes
// the events that delivery holds, if the deferral covers them. While a recovery reads the table,
// rows that are visible in known and that delivery does not hold may not be delivered yet.
func (g *Gate) begin(h *held, hasBegun bool, withdraw func(covered func(*delivery.Event) bool) []*delivery.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold(h)
	if hasBegun {
		h.undelivered = newUndelivered(&g.undelivered)
	}
	g.delivery.HandOver(withdraw(func(e *delivery.Event) bool { return h.judge(e) == drop }))
}

// wasDelivered reports whether a row that is visible in h.seen was delivered before this session
// began the deferral.
func (g *Gate) wasDelivered(h *held, seq int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.undelivered.wasDelivered(seq)
}

// forgetDelivered ends that: a pass has ended, and its mark tells which rows are done.
func (g *Gate) forgetDelivered(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.forgetDelivered()
}

// deferred returns the deferrals, by whether the stream has joined them.
func (g *Gate) deferred() (waiting, ending []*held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.held {
		if h.mode == joined {
			ending = append(ending, h)
			continue
		}
		waiting = append(waiting, h)
	}
	return waiting, ending
}

// IsEnding reports whether a deferral that the stream has joined waits for the position.
func (g *Gate) IsEnding() bool {
	_, ending := g.deferred()
	return len(ending) > 0
}

// holds reports whether all events of a destination wait in the table.
func (g *Gate) holds(name string) bool { return g.holdsGroup(name, "") }

// holdsGroup reports whether events of a message group wait in the table.
func (g *Gate) holdsGroup(name, group string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.held[key{name, group}]
	return h != nil && h.mode != joined
}

// count returns how many deferrals there are.
func (g *Gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.held)
}

// advance moves the mark of a deferral to the stored one. Every later pass shows the transactions
// that this one shows. No other snapshot may be used here: it may be younger than that of a join.
func (g *Gate) advance(h *held, m mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.mark = m
	h.forget(m.known)
}

// dropped returns how many events were dropped since the last call.
func (g *Gate) dropped(h *held) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := h.count
	h.count = 0
	return n
}

// found notes that a pass has found a row.
func (g *Gate) found(h *held, seq int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !h.unseen.remove(seq) && h.mode == keeping {
		h.found.add(seq) // it may be dropped while the pass is under way
	}
}

// unseen returns how many of the rows that were dropped in this session no pass has found.
func (g *Gate) unseen(h *held) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.unseen.size
}

// setPassing stores To of the pass under way, or nil at its end.
func (g *Gate) setPassing(h *held, to *pgsnapshot.Snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.passing = to
}

// keepFrom has the gate keep events from now on. It is J1. It reports false if the stream has
// joined already.
func (g *Gate) keepFrom(h *held) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.mode != deferred {
		return false
	}
	h.mode = keeping
	return true
}

// isJoined reports whether the stream has joined a deferral.
func (g *Gate) isJoined(h *held) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.mode == joined
}

// keepNone ends that without a join.
func (g *Gate) keepNone(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.mode == keeping { // while a join is written, it is not known whether their rows wait
		g.delivery.HandOver(g.dropKept(h))
	}
}

// isShown reports whether snapshot shows everything that was dropped, as J2 demands. first is an
// xid that was assigned in this session, before anything was dropped.
func (g *Gate) isShown(h *held, snapshot pgsnapshot.Snapshot, first uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.droppedXIDs.areShown(snapshot) && (!h.fromEarlier || snapshot.IsPast(first))
}

// join ends keeping for the time of a write, during which nothing may be dropped. known is the
// snapshot of the pass. It reports whether everything since keepFrom was kept, and every row that
// the passes of other deferrals have left to h is done.
func (g *Gate) join(h *held, known pgsnapshot.Snapshot) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.mode != keeping || !g.hasAllThatWasLeft(h, known) {
		return false
	}
	h.mode = joining
	return true
}

// hasAllThatWasLeft reports whether known shows every row that a pass of another deferral has left
// to h. Those of a destination leave the rows of its groups, and each leaves the rows that earlier
// routes lead to h. Its mark counts them as done, and is alone once h is forgotten. g.mu is held.
func (g *Gate) hasAllThatWasLeft(h *held, known pgsnapshot.Snapshot) bool {
	if len(h.routes) > 0 {
		for _, other := range g.held {
			if other != h && !other.isShownBy(known) {
				return false
			}
		}
		return true
	}
	if h.left != nil && !known.Covers(*h.left) {
		return false
	}
	all := g.held[key{destination: h.stored.Destination}]
	return !h.isGroup() || all == nil || all.mode == joined && all.isShownBy(known)
}

// isShownBy reports whether a snapshot shows everything that the passes of h have seen, with the
// one under way.
func (h *held) isShownBy(s pgsnapshot.Snapshot) bool {
	return s.Covers(h.mark.known) && (h.passing == nil || s.Covers(*h.passing))
}

// joined lets the stream through again, except rows that are visible in known. It is J5.
func (g *Gate) joined(h *held, known pgsnapshot.Snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.mode, h.mark = joined, mark{known, endless}
	events := h.kept
	g.kept.events -= len(events)
	g.kept.bytes -= h.keptBytes
	h.kept, h.keptBytes = nil, 0
	for _, k := range events {
		g.send(k.destination, []*delivery.Event{k.event})
	}
}

// forget removes a deferral whose rows the stream brings no more.
func (g *Gate) forget(p Place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := p.key()
	h := g.held[k]
	if h == nil || h.mode != joined {
		return
	}
	g.unhold(k)
	for _, other := range g.held {
		if other.isGroup() && other.stored.Destination == p.Destination && !p.IsGroup() && other.mode != joined {
			other.left = &h.mark.known // it is younger than the one before
		}
	}
}
