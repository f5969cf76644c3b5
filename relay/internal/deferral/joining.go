package deferral

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// The Worker changes the deferrals of a [Gate] by these methods.

// begin holds back the events of a destination from now on. Its deferral is stored. withdraw takes
// the events that delivery holds, if the deferral covers them.
func (g *Gate) begin(h *held, withdraw func(covered func(*delivery.Event) bool) []*delivery.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold(h)
	events := withdraw(func(e *delivery.Event) bool { return h.judge(e) == drop })
	h.undelivered = map[int64]struct{}{}
	for _, e := range events {
		if xid, seq, _ := e.Row.Numbers(); h.mark.known.Visible(xid) {
			h.undelivered[seq] = struct{}{}
		}
	}
	g.delivery.HandOver(events)
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

// holds reports whether events of a destination wait in the table.
func (g *Gate) holds(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.held[name]
	return h != nil && h.mode != joined
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

// droppedInAll returns how many events were dropped in this session.
func (g *Gate) droppedInAll(h *held) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.all
}

// keepFrom has the gate keep events from now on. It is J1.
func (g *Gate) keepFrom(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.mode = keeping
}

// keepNone ends that without a join.
func (g *Gate) keepNone(h *held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.mode == keeping { // while a join is written, it is not known whether their rows wait
		g.delivery.HandOver(h.dropKept())
	}
}

// isShown reports whether snapshot shows everything that was dropped, as J2 demands. first is an
// xid that was assigned in this session, before anything was dropped.
func (g *Gate) isShown(h *held, snapshot pgsnapshot.Snapshot, first uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.droppedXIDs.areShown(snapshot) && (!h.fromEarlier || snapshot.IsPast(first))
}

// join ends keeping for the time of a write, during which nothing may be dropped. It reports
// whether everything since keepFrom was kept.
func (g *Gate) join(h *held) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.mode != keeping {
		return false
	}
	h.mode = joining
	return true
}

// joined lets the stream through again, except rows that are visible in known. It is J5.
func (g *Gate) joined(h *held, known pgsnapshot.Snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.mode, h.mark = joined, mark{known, endless}
	events := h.kept
	h.kept, h.keptBytes = nil, 0
	for _, k := range events {
		g.send(k.destination, []*delivery.Event{k.event})
	}
}

// forget removes a deferral whose rows the stream brings no more.
func (g *Gate) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.held[name]; h != nil && h.mode == joined {
		g.unhold(name)
	}
}
