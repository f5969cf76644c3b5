package delivery

import (
	"container/heap"
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
)

// A destination that is unavailable for long may be deferred: its events wait in the outbox table.
// Package deferral decides that and withdraws the events. Events that an operator redrove or
// replayed, and those that the Tracker does not know, stay here and probe the destination.

// Defer says whether events of a destination wait, instead of being parked, while it is
// unavailable.
func (d *Delivery) Defer(destination int, wait bool) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler.defers = wait
}

// Overdue returns since when a destination has accepted nothing, and whether that is ParkAfter ago
// or longer. It returns the zero time for a destination that accepts events.
func (d *Delivery) Overdue(destination int) (since time.Time, overdue bool) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scheduler.failures == 0 {
		return time.Time{}, false
	}
	return s.scheduler.failing, s.scheduler.isOverdue(time.Now())
}

// Hold waits until no request to a destination is in flight. Until release is called, no further
// one starts. It returns an error if ctx ends first.
func (d *Delivery) Hold(ctx context.Context, destination int) (release func(), err error) {
	s := d.senders[destination]
	idle := s.hold()
	select {
	case <-idle:
		return s.release, nil
	case <-ctx.Done():
		s.release()
		return nil, ctx.Err()
	}
}

// hold returns a channel that is closed once no request is in flight.
func (s *sender) hold() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = make(chan struct{})
	if s.scheduler.inFlight == 0 {
		close(s.held)
	}
	return s.held
}

func (s *sender) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = nil
	s.start()
}

// Waiting calls visit for each event of a destination that no request has.
func (d *Delivery) Waiting(destination int, visit func(*Event)) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.scheduler.groups {
		for e := g.first; e != nil; e = e.next {
			visit(e)
		}
	}
}

// Withdraw removes the wanted events from a destination and returns them. The destination is held.
func (d *Delivery) Withdraw(destination int, wanted func(*Event) bool) []*Event {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduler.withdraw(wanted, time.Now())
}

// HandOver tells the Tracker that events are done, although no request has delivered them: their
// rows wait in the outbox table, or were delivered from there.
func (d *Delivery) HandOver(events []*Event) {
	if len(events) == 0 {
		return
	}
	handles := make([]checkpoint.Handle, 0, len(events))
	tracked := make([]*Event, 0, len(events))
	for _, e := range events {
		if e.Settled != nil {
			e.Settled()
			continue
		}
		handles, tracked = append(handles, e.Handle), append(tracked, e)
	}
	d.deps.Tracker.Delivered(handles...)
	d.spare.put(tracked)
}

// withdraw removes the wanted events. Groups keep the order of the others.
func (s *scheduler) withdraw(wanted func(*Event) bool, now time.Time) (all []*Event) {
	groups := s.emptied()
	for _, g := range groups {
		state := g.state
		all = append(all, g.remove(wanted)...)
		switch {
		case g.first == nil:
			s.forget(g)
		case state == groupWaiting:
			heap.Push(&s.waiting, g)
		default:
			s.makeReady(g, now)
		}
	}
	return all
}

// emptied empties the lists of groups, and returns the groups: those that are ready in their order.
func (s *scheduler) emptied() (groups []*group) {
	for s.ready.first != nil {
		groups = append(groups, s.ready.pop())
	}
	groups = append(groups, s.waiting...)
	s.waiting, s.sendable = nil, load{}
	return groups
}

// remove takes the wanted events out of a group.
func (g *group) remove(wanted func(*Event) bool) (removed []*Event) {
	events := g.first
	g.first, g.last, g.load = nil, nil, load{}
	for e := events; e != nil; {
		next := e.next
		if e.next = nil; wanted(e) {
			removed = append(removed, e)
		} else {
			g.append(e)
		}
		e = next
	}
	return removed
}

// HasUncovered reports whether a destination has events that no deferral covers: the log has no row
// of theirs that a pass would find. The destination is deferred, or none of its events is covered.
func (d *Delivery) HasUncovered(destination int) (rest bool) {
	d.Waiting(destination, func(e *Event) { rest = rest || e.isUncovered() })
	return rest
}

// isUncovered reports whether e holds up the position while its destination is unavailable.
func (e *Event) isUncovered() bool { return e.Settled == nil && !e.isManual() }

// ParkUncovered parks these events. The destination is held.
func (d *Delivery) ParkUncovered(destination int, since time.Time) {
	s := d.senders[destination]
	for _, e := range d.Withdraw(destination, (*Event).isUncovered) {
		rejection := e.rejection
		if rejection == nil {
			rejection = unavailableSince(since)
		}
		e.err = nil
		if s.park(e, rejection); e.err != nil {
			return // delivery ends
		}
		s.reportDone([]*Event{e})
	}
}
