package deferral

import (
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// A group whose events wait behind a dead letter is deferred like any other, and is not drained.

// waiting returns the deferral of a place that waits, or nil.
func (g *Gate) waiting(k key) *held {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.held[k]; h != nil && h.mode != joined {
		return h
	}
	return nil
}

// isBehind reports whether a deferral waits behind a dead letter, as far as that is known.
func (g *Gate) isBehind(h *held) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.behind
}

func (g *Gate) setBehind(h *held, behind bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.behind = behind
}

// behind returns the deferrals that wait behind a dead letter.
func (g *Gate) behind() (all []*held) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.held {
		if h.behind && h.mode != joined {
			all = append(all, h)
		}
	}
	return all
}

// hasCount reports whether events were dropped since their number was stored.
func (g *Gate) hasCount(h *held) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.count > 0
}

// setFlight stores the events of the pass under way, or nil at its end.
func (g *Gate) setFlight(h *held, f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.flight = f
}

// setStrays stores the events of an ended pass that could not be taken back, or nil once they were.
func (g *Gate) setStrays(h *held, strays *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.strays = strays
}

// straysOf returns these events; nil without any.
func (g *Gate) straysOf(h *held) *flight {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.strays
}

// passOf returns the events of the pass under way and its To; nil without one.
func (g *Gate) passOf(h *held) (*flight, *pgsnapshot.Snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.flight, h.passing
}

// beginWithin begins the deferral of a group whose destination is deferred. Everything visible in
// To of the pass is done for it, up to the first event of the group that the pass has sent and that
// waits. withdraw removes such events. They are settled for the pass, and wait for the group.
//
// The gate may have dropped rows of the group for the destination. The group joins the stream after
// the destination, and with a snapshot that shows them.
func (g *Gate) beginWithin(
	h, all *held, withdraw func(wanted func(*delivery.Event) bool) []*delivery.Event,
) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold(h)
	h.fromEarlier = true
	if all.undelivered != nil {
		h.seen, h.undelivered = all.seen, all.undelivered.shared()
	}
	if all.flight == nil {
		return
	}
	for _, e := range withdraw(all.flight.has) {
		h.count++
		e.Settled()
	}
}

// sendOwn calls send if h is the deferral that delivers a row, and reports whether it is. now is
// the destination to which the routes of now lead. No deferral begins meanwhile.
func (g *Gate) sendOwn(h *held, e *outbox.Envelope, now string, send func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ownerOf(e, now) != h {
		return false
	}
	send()
	return true
}

// lowestOf returns the lowest seq of these events; endless without one.
func lowestOf(events []*delivery.Event) int64 {
	lowest := int64(endless)
	for _, e := range events {
		if seq, err := e.Row.Seq(); err == nil {
			lowest = min(lowest, fromSeqOf(seq))
		}
	}
	return lowest
}
