package deferral

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Delivery is the part of [delivery.Delivery] that takes the events of a Gate.
type Delivery interface {
	Send(destination int, events ...*delivery.Event)
	// HandOver tells the Tracker that events are done: their rows wait in the outbox table, or were
	// delivered from there.
	HandOver(events []*delivery.Event)
}

// Gate is passed by every event that the stream or a recovery brings, on its way to delivery. It
// holds back those of deferred destinations. Its lock is held while it sends, so that an event
// which it has let through is with delivery before a deferral begins.
type Gate struct {
	delivery  Delivery
	names     []string // of the destinations, by index
	recovered pgsnapshot.Snapshot
	// how many events of all destinations may be kept, and of how many bytes
	share, shareBytes int

	mu       sync.Mutex
	held     map[string]*held // by destination
	claims   atomic.Bool      // whether others has any
	others   []*held          // those of held with routes other than those of now
	reached  pglogrepl.LSN    // the stream was read up to here, and delivery has the events
	observed observation      // not reached yet
	past     observation      // the last one that the stream was read past
}

type observation struct {
	text     string
	snapshot pgsnapshot.Snapshot
	lsn      pglogrepl.LSN
}

// Start is the state with which a Gate begins.
type Start struct {
	// Horizon is a snapshot in which everything visible is delivered, or not done for a deferral,
	// by the time at which the stream is read. Empty if it is not known.
	Horizon string
	// Recovered is the snapshot up to which a recovery reads rows of the table; empty without one.
	Recovered string
	Deferrals []Deferral
	Routes    string // those of now
	// Share and ShareBytes bound the events that are kept, while the stream is joined again.
	Share, ShareBytes int
}

// NewGate returns a Gate in front of delivery to destinations of these names.
func NewGate(d Delivery, names []string, start Start) (*Gate, error) {
	g := &Gate{delivery: d, names: names, share: start.Share, shareBytes: start.ShareBytes, held: map[string]*held{}}
	var err error
	if start.Horizon != "" {
		g.past.text = start.Horizon
		if g.past.snapshot, err = pgsnapshot.Parse(start.Horizon); err != nil {
			return nil, err
		}
	}
	if start.Recovered != "" {
		if g.recovered, err = pgsnapshot.Parse(start.Recovered); err != nil {
			return nil, err
		}
	}
	for _, stored := range start.Deferrals {
		h, err := newHeld(stored, start.Routes)
		if err != nil {
			return nil, fmt.Errorf("deferral of %s: %w", stored.Destination, err)
		}
		if err := requireSameRows(h, start.Routes); err != nil {
			return nil, err
		}
		h.fromEarlier = true
		g.hold(h)
	}
	return g, nil
}

func (g *Gate) hold(h *held) {
	g.unhold(h.stored.Destination)
	g.held[h.stored.Destination] = h
	if len(h.routes) > 0 {
		g.others = append(g.others, h)
		g.claims.Store(true)
	}
}

func (g *Gate) unhold(name string) {
	g.others = slices.DeleteFunc(g.others, func(h *held) bool { return h.stored.Destination == name })
	delete(g.held, name)
}

// Claimed returns the name of a destination that the event was routed to by earlier routes, if that
// destination is deferred, and otherwise the empty string. It is for [delivery.Event.Deferral].
func (g *Gate) Claimed(e *outbox.Envelope) string {
	if !g.claims.Load() {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.others {
		if h.selects(e) {
			return h.stored.Destination
		}
	}
	return ""
}

// owner returns the destination whose deferral delivers a row that earlier routes lead there, or
// the empty string.
func (g *Gate) owner(e *outbox.Envelope) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.others {
		if h.mode != joined && h.selects(e) {
			return h.stored.Destination
		}
	}
	return ""
}

// Writer returns the low half of the xid of a row that a recovery read, or zero if the snapshot of
// the recovery does not show that transaction: the xid is made up, and no pass would find the row.
func (g *Gate) Writer(xid string) uint32 {
	number, err := pgsnapshot.ParseXID(xid)
	if err != nil || !g.recovered.Visible(number) {
		return 0
	}
	return uint32(number)
}

// Send hands events to delivery, or holds them back.
func (g *Gate) Send(destination int, events ...*delivery.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.send(destination, events)
}

func (g *Gate) send(destination int, events []*delivery.Event) {
	if len(g.held) == 0 || destination == route.Dropped {
		g.delivery.Send(destination, events...)
		return
	}
	var through, over []*delivery.Event
	for _, e := range events {
		switch h, verdict := g.judge(destination, e); verdict {
		case pass:
			through = append(through, e)
		case keep:
			h.keep(kept{destination, e})
		default:
			over = append(over, e)
		}
	}
	g.delivery.HandOver(over)
	g.delivery.HandOver(g.overflow())
	if len(through) > 0 {
		g.delivery.Send(destination, through...)
	}
}

// judge returns the one deferral that decides about an event, and its verdict. A deferral by
// earlier routes that the stream has joined only skips the rows that it delivered.
func (g *Gate) judge(destination int, e *delivery.Event) (*held, verdict) {
	claim := g.held[e.Deferral]
	isClaimed := e.Deferral != "" && claim != nil
	if isClaimed {
		if v := claim.judge(e); v != pass || claim.mode != joined {
			return claim, v
		}
	}
	h := g.held[g.names[destination]]
	v := h.judge(e)
	if v == skip && isClaimed { // a pass has left the row to the claim, which has not delivered it
		v = pass
	}
	return h, v
}

// overflow gives up keeping where that exceeds its share, and returns the events.
func (g *Gate) overflow() (all []*delivery.Event) {
	events, size := 0, 0
	for _, h := range g.held {
		events, size = events+len(h.kept), size+h.keptBytes
	}
	if events <= g.share && size <= g.shareBytes {
		return nil
	}
	for _, h := range g.held {
		if h.mode == keeping {
			all = append(all, h.dropKept()...)
		}
	}
	return all
}

// Reached says that the stream was read up to lsn, and that delivery has its events.
func (g *Gate) Reached(lsn pglogrepl.LSN) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reached = max(g.reached, lsn)
	g.compare()
}

// Observed takes a snapshot and an insert LSN that was read after it.
func (g *Gate) Observed(snapshot string, lsn pglogrepl.LSN) error {
	parsed, err := pgsnapshot.Parse(snapshot)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.observed.text == "" { // or a busy stream would never reach one
		g.observed = observation{snapshot, parsed, lsn}
	}
	g.compare()
	return nil
}

// compare takes an observation that is reached. g.mu is held.
func (g *Gate) compare() {
	if g.observed.text == "" || g.reached < g.observed.lsn {
		return
	}
	g.past, g.observed = g.observed, observation{}
}

// passed takes an observation if the stream was read past it, and reports whether it was.
func (g *Gate) passed(o Observation) bool {
	parsed, err := pgsnapshot.Parse(o.Snapshot)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reached < o.LSN {
		return false
	}
	if o.LSN > g.past.lsn {
		g.past = observation{o.Snapshot, parsed, o.LSN}
	}
	return true
}

// HasReached reports whether the stream was read up to lsn.
func (g *Gate) HasReached(lsn pglogrepl.LSN) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reached >= lsn
}

// Past returns the last observed snapshot that the stream was read past; empty if there is none
// yet.
func (g *Gate) Past() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.past.text
}
