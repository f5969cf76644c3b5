package deferral

import (
	"fmt"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// mode is the state of a deferral in this session. See the package documentation.
type mode uint8

const (
	deferred mode = iota
	keeping
	joining // keeping, while the join is written
	joined
)

// held is a deferral in this session. The lock of the Gate guards it.
type held struct {
	stored      Deferral
	routes      []*route.Router // earlier ones that select its rows too
	fromEarlier bool            // earlier sessions may have dropped rows
	// seen is a snapshot of the time at which this session began the deferral, or an older one.
	// Rows that are visible in it were delivered before, except those in undelivered. That is nil
	// if an earlier session began the deferral, and once a pass has ended.
	seen        pgsnapshot.Snapshot
	undelivered *undelivered

	mode        mode
	mark        mark
	passing     *pgsnapshot.Snapshot // To of the pass under way; nil without one
	kept        []kept
	droppedXIDs xidSet
	count       int64  // events dropped and not yet stored
	unseen      seqSet // rows dropped in this session that no pass has found yet
	found       seqSet // rows that a pass has found since keepFrom and that were not dropped
	keptBytes   int
	behind      bool                 // a dead letter may block the group: no pass is made
	flight      *flight              // events of the pass under way; nil without one
	strays      *flight              // events of an ended pass that delivery still has; nil without any
	left        *pgsnapshot.Snapshot // shows the rows that a forgotten deferral has left to this one; nil without one

	// The rest belongs to the Worker's goroutine for the deferral.

	// top is a seq above which no row of the deferral is visible in the known of mark. endless if
	// that is unknown.
	top          int64
	idle         int           // passes that found nothing, since one that did
	waited       time.Duration // for events of passes to be delivered, in all
	turnEnds     time.Time     // the last turn of a group; the lock of turns guards it
	storedReason string        // the reason as it was stored last; of the goroutine of watchBehind
}

// seenText returns seen, or an empty snapshot without one.
func (h *held) seenText() string {
	if text := h.seen.String(); text != "" {
		return text
	}
	return "3:3:"
}

func (h *held) isGroup() bool { return h.stored.place().IsGroup() }

// kept is an event that waits for a join.
type kept struct {
	destination int
	event       *delivery.Event
}

func newHeld(stored Deferral, routesOfNow string) (*held, error) {
	known, err := pgsnapshot.Parse(stored.Known)
	if err != nil {
		return nil, err
	}
	routes, err := parseRoutes(stored.Routes, routesOfNow)
	if err != nil {
		return nil, err
	}
	h := &held{
		stored: stored, routes: routes, mark: mark{known, stored.FromSeq}, top: endless,
		behind: stored.Reason == ReasonBehind, storedReason: stored.Reason,
	}
	if stored.State == Joined {
		h.mode = joined
	}
	return h, nil
}

// parseRoutes returns the routes of these texts, without those of now.
func parseRoutes(texts []string, now string) (routes []*route.Router, err error) {
	for _, text := range texts {
		if text == now {
			continue
		}
		r, err := route.ParseText(text)
		if err != nil {
			return nil, fmt.Errorf("read the routes %q: %w", text, err)
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// requireSameRows returns an error that only an operator can act on if earlier routes select the
// rows of h by a column or under a row filter that this session does not read: it could not find
// them.
func requireSameRows(h *held, routesOfNow string) error {
	now, err := route.ParseText(routesOfNow)
	if err != nil {
		return fmt.Errorf("read the routes %q: %w", routesOfNow, err)
	}
	for _, r := range h.routes {
		switch {
		case h.mode == joined:
		case r.Column() != "" && !slices.Contains(now.ColumnNames(), r.ColumnNames()[0]):
			return operator.Needed("events of %s wait in the outbox table, by routes that read its column %s, and "+
				"RELAY_ROUTES no longer reads that column: restore the pattern in RELAY_ROUTES until relay status "+
				"shows no deferred destination", h.stored.Destination, r.Column())
		case r.Filter() != now.Filter():
			return operator.Needed("events of %s wait in the outbox table since the publication had %s, and it now "+
				"has %s: restore it, with RELAY_ROW_FILTER=assert for a row filter, until relay status shows no "+
				"deferred destination", h.stored.Destination, describeFilter(r.Filter()), describeFilter(now.Filter()))
		}
	}
	return nil
}

func describeFilter(filter string) string {
	if filter == "" {
		return "no row filter"
	}
	return "the row filter WHERE " + filter
}

// selects reports whether earlier routes lead e to the place of h.
func (h *held) selects(e *outbox.Envelope) bool {
	return h.stored.place().has(e) &&
		slices.ContainsFunc(h.routes, func(r *route.Router) bool { return leads(r, h.stored.Destination, e) })
}

// leads reports whether routes lead e to a destination.
func leads(r *route.Router, destination string, e *outbox.Envelope) bool {
	i := r.Route(e)
	return i != route.Dropped && r.Destination(i) == destination
}

// verdict is the fate of an event.
type verdict uint8

const (
	pass verdict = iota
	keep
	drop // its row waits in the table
	skip // its row was delivered
)

// judge decides about an event. It remembers one that is dropped.
//
// A row that a recovery read passes although the mark counts it as done, because the mark does not
// prove that it was delivered. So its event may arrive twice, and is not lost.
func (h *held) judge(e *delivery.Event) verdict {
	if h == nil {
		return pass
	}
	xid, seq, ok := e.Row.Numbers()
	switch streamed := e.Row.CommitLSN != 0; {
	case !ok:
		return pass
	case h.mark.done(xid, seq) && streamed:
		return skip
	case h.mark.done(xid, seq), h.mode == joined:
		return pass
	case h.mode != deferred:
		return keep
	}
	h.count++
	if !h.found.has(seq) {
		h.unseen.add(seq)
	}
	h.droppedXIDs.add(xid)
	if h.undelivered != nil && h.seen.Visible(xid) {
		h.undelivered.add(seq)
	}
	return drop
}

func (k kept) size() int { return len(k.event.Message.Body) + eventOverhead }

func (h *held) keep(k kept) {
	h.kept = append(h.kept, k)
	h.keptBytes += k.size()
}

// dropKept returns the kept events, which wait in the table from now on.
func (h *held) dropKept() []*delivery.Event {
	h.mode = deferred
	var events []*delivery.Event
	for _, k := range h.kept {
		h.judge(k.event)
		events = append(events, k.event)
	}
	h.kept, h.keptBytes = nil, 0
	h.found.clear()
	return events
}

// bound has h share the memory of the sets of a Gate.
func (h *held) bound(blocks, xids *budget) {
	h.unseen.budget, h.found.budget, h.droppedXIDs.budget = blocks, blocks, xids
}

// release gives the memory of the sets back.
func (h *held) release() {
	h.unseen.clear()
	h.found.clear()
	h.droppedXIDs.clear()
	h.forgetDelivered()
}

// forgetDelivered has h no longer know which rows were delivered before this session began it.
func (h *held) forgetDelivered() {
	h.undelivered.unshare()
	h.undelivered = nil
}

// forget drops the transactions that a snapshot shows.
func (h *held) forget(s pgsnapshot.Snapshot) { h.droppedXIDs.forget(s) }
