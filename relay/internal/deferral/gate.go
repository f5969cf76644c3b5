package deferral

import (
	"fmt"
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

// Gate is where every event of the stream or a recovery goes to delivery. It holds back those of
// deferred destinations and aggregates. Its lock is held while it sends, so that an event which it
// has let through is with delivery before a deferral begins.
type Gate struct {
	delivery  Delivery
	names     []string // of the destinations, by index
	recovered pgsnapshot.Snapshot
	// how many events of all destinations may be kept, and of how many bytes
	share, shareBytes int

	mu          sync.Mutex
	held        map[key]*held
	kept        keptLoad      // of all held
	blocks      budget        // of the seqSets of all held
	xids        budget        // of their xidSets
	undelivered budget        // of their undelivered sets
	claims      atomic.Bool   // whether others has any
	others      others        // those of held with routes other than those of now
	reached     pglogrepl.LSN // the stream was read up to here, and delivery has the events
	observed    observation   // not reached yet
	past        observation   // the last one that the stream was read past
}

// keptLoad counts kept events and their bytes.
type keptLoad struct{ events, bytes int }

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
	g := &Gate{
		delivery: d, names: names, share: start.Share, shareBytes: start.ShareBytes, held: map[key]*held{},
		blocks: budget{limit: maxBlocks}, xids: budget{limit: maxXIDs}, undelivered: budget{limit: maxUndelivered},
	}
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
			return nil, fmt.Errorf("deferral of %s: %w", stored.place(), err)
		}
		if err := requireSameRows(h, start.Routes); err != nil {
			return nil, err
		}
		h.fromEarlier, h.behind = true, h.isGroup()
		g.hold(h)
	}
	return g, nil
}

func (g *Gate) hold(h *held) {
	k := h.stored.place().key()
	g.unhold(k)
	h.bound(&g.blocks, &g.xids)
	g.held[k] = h
	if len(h.routes) > 0 {
		g.others.add(h)
		g.claims.Store(true)
	}
}

func (g *Gate) unhold(k key) {
	h := g.held[k]
	if h == nil {
		return
	}
	if len(h.routes) > 0 {
		g.others.remove(h)
	}
	h.release()
	delete(g.held, k)
}

// Claimed returns the name of a destination that the event was routed to by earlier routes, if a
// deferral has it there, and otherwise the empty string. It is for [delivery.Event.Deferral].
func (g *Gate) Claimed(e *outbox.Envelope) string {
	if !g.claims.Load() {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.others.find(e, func(*held) bool { return true }); h != nil {
		return h.stored.Destination
	}
	return ""
}

// owner returns the deferral that delivers a row, or nil: one by earlier routes, then that of its
// aggregate, then that of its destination. now is the destination to which the routes of now lead.
func (g *Gate) owner(e *outbox.Envelope, now string) *held {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ownerOf(e, now)
}

// ownerOf is owner. g.mu is held.
func (g *Gate) ownerOf(e *outbox.Envelope, now string) *held {
	isWaiting := func(h *held) bool { return h != nil && h.mode != joined }
	if h := g.others.find(e, isWaiting); h != nil {
		return h
	}
	if h := g.held[placeOf(now, e).key()]; isWaiting(h) {
		return h
	}
	if h := g.held[key{destination: now}]; isWaiting(h) {
		return h
	}
	return nil
}

// Writer returns [pgsnapshot.Snapshot.Writer] of a row that a recovery read.
func (g *Gate) Writer(xid string) uint32 { return g.recovered.Writer(xid) }

// Send hands events to delivery, or holds them back.
func (g *Gate) Send(destination int, events ...*delivery.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.send(destination, events)
}

// deciding returns the deferrals that may decide about an event, in their order. Some are nil.
func (g *Gate) deciding(destination int, e *delivery.Event) [3]*held {
	group, name := e.Message.GroupID, g.names[destination]
	return [...]*held{g.claim(e), g.held[key{name, group}], g.held[key{destination: name}]}
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
			g.keep(h, kept{destination, e})
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

// judge returns the one deferral that decides about an event, and its verdict: that by earlier
// routes, then that of its group, then that of its destination. One that the stream has joined only
// skips the rows that it delivered. Then the next deferral decides by its own mark. The passes of
// the next deferral left some rows to the joined one: [Gate.join] proved that these are done.
func (g *Gate) judge(destination int, e *delivery.Event) (*held, verdict) {
	for _, h := range g.deciding(destination, e) {
		if h == nil {
			continue
		}
		if v := h.judge(e); v != pass || h.mode != joined {
			return h, v
		}
	}
	return nil, pass
}

// claim returns the deferral that has an event by earlier routes, or nil.
func (g *Gate) claim(e *delivery.Event) *held {
	if e.Deferral == "" {
		return nil
	}
	if h := g.held[key{e.Deferral, e.Message.GroupID}]; h != nil {
		return h
	}
	return g.held[key{destination: e.Deferral}]
}

func (g *Gate) keep(h *held, k kept) {
	h.keep(k)
	g.kept.events++
	g.kept.bytes += k.size()
}

// dropKept returns the kept events of a deferral, which wait in the table from now on.
func (g *Gate) dropKept(h *held) []*delivery.Event {
	g.kept.events -= len(h.kept)
	g.kept.bytes -= h.keptBytes
	return h.dropKept()
}

// overflow gives up keeping where that exceeds its share, where most is kept first, and returns the
// events.
func (g *Gate) overflow() (all []*delivery.Event) {
	for g.kept.events > g.share || g.kept.bytes > g.shareBytes {
		var most *held
		for _, h := range g.held {
			if h.mode == keeping && len(h.kept) > 0 && (most == nil || h.keptBytes > most.keptBytes) {
				most = h
			}
		}
		if most == nil {
			return all
		}
		all = append(all, g.dropKept(most)...)
	}
	return all
}
