package delivery

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// A group has one request in flight at most. If its events come faster than that, they fill the
// window, which then holds back every other group. Package deferral decides about such a group and
// withdraws its events.

const (
	// busyRequests is how many requests the events of a busy group need at least. Fewer are sent
	// before the events could be read from the outbox table.
	busyRequests = 8
	// busyGroups bounds how many groups of a destination may be as far behind. If more are, the
	// relay is behind with everything, as after a pause, and no group is at fault.
	busyGroups = 64
)

// BusyGroup is a group that is far behind the others of its destination.
type BusyGroup struct {
	Group         string
	First         checkpoint.Handle // of its first waiting event
	Row           Row               // of that event
	Events, Bytes int               // that wait
}

// Busy returns the group of a destination that needs the most requests, and the one that has waited
// longest of those that need several, if they are far behind the others. It excludes refused
// groups, and returns none while the destination is unavailable: all groups are behind then.
func (d *Delivery) Busy(destination int, isRefused func(group string) bool) (busy []BusyGroup) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.scheduler.busy(isRefused) {
		busy = append(busy, BusyGroup{
			Group: g.key, First: g.first.Handle, Row: g.first.Row, Events: g.load.events, Bytes: g.load.bytes,
		})
	}
	return busy
}

// FarBehind returns the waiting events of a group and their bytes, and whether the group is far
// behind the others. It is not while the destination is unavailable, behind a dead letter, or after
// a request of its own that failed: its event may be about to become a dead letter.
func (d *Delivery) FarBehind(destination int, group string) (events, bytes int, isFar bool) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.scheduler.groups[group]
	if g == nil {
		return 0, 0, false
	}
	isFar = s.scheduler.failures == 0 && g.failures == 0 && s.scheduler.requestsOf(g) >= busyRequests &&
		!s.scheduler.isBehind(group) && s.scheduler.isFarBehind(g)
	return g.load.events, g.load.bytes, isFar
}

func (s *scheduler) busy(isRefused func(group string) bool) (busy []*group) {
	if s.failures > 0 {
		return nil
	}
	var largest, oldest *group
	most := 0
	for _, g := range s.groups {
		n := s.requestsOf(g)
		if n < busyRequests || !g.isTracked() || isRefused(g.key) || s.isBehind(g.key) {
			continue
		}
		if n > most {
			largest, most = g, n
		}
		if oldest == nil || g.first.Handle < oldest.first.Handle {
			oldest = g
		}
	}
	for _, g := range []*group{oldest, largest} {
		if g != nil && !slices.Contains(busy, g) && s.isFarBehind(g) {
			busy = append(busy, g)
		}
	}
	return busy
}

// isFarBehind reports whether at most busyGroups need half as many requests as g.
func (s *scheduler) isFarBehind(g *group) bool {
	equals, requests := 0, s.requestsOf(g)
	for _, other := range s.groups {
		if 2*s.requestsOf(other) >= requests {
			equals++
		}
	}
	return equals <= busyGroups
}

// isTracked reports whether the group waits with an event that the Tracker knows.
func (g *group) isTracked() bool {
	return g.first != nil && g.first.Settled == nil && !g.first.isManual()
}

// requestsOf returns how many requests the waiting events of a group need, one after the other.
func (s *scheduler) requestsOf(g *group) int {
	if s.oneOfGroup() {
		return g.load.events
	}
	return max((g.load.events+sink.MaxBatch-1)/sink.MaxBatch, g.load.bytes/s.limits.MaxBatchBytes)
}

// HoldGroup waits until no request has events of a group. Until release is called, none is sent. It
// returns an error if ctx ends first.
func (d *Delivery) HoldGroup(ctx context.Context, destination int, group string) (release func(), err error) {
	s := d.senders[destination]
	idle := s.holdGroup(group)
	release = func() { s.releaseGroup(group) }
	select {
	case <-idle:
		return release, nil
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
}

func (s *sender) holdGroup(key string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduler.hold(key)
}

func (s *sender) releaseGroup(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler.release(key, time.Now())
	s.start()
}

// WaitingOf calls visit for each event of a group that no request has.
func (d *Delivery) WaitingOf(destination int, group string, visit func(*Event)) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.scheduler.groups[group]
	if g == nil {
		return
	}
	for e := g.first; e != nil; e = e.next {
		visit(e)
	}
}

// WithdrawGroup removes the wanted events from a group and returns them. The group is held.
func (d *Delivery) WithdrawGroup(destination int, group string, wanted func(*Event) bool) []*Event {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.scheduler.groups[group]
	if g == nil {
		return nil
	}
	return g.remove(wanted)
}

// hold has a group send nothing until each hold of it is released. The channel that hold returns is
// closed once no request has events of the group.
func (s *scheduler) hold(key string) <-chan struct{} {
	g := s.groups[key]
	if g == nil {
		g = s.newGroup(key)
		g.state = groupHeld
	}
	g.holders++
	switch g.state {
	case groupInFlight:
		if g.held == nil {
			g.held = make(chan struct{})
		}
		return g.held // closed when the request ends
	case groupReady:
		s.ready.remove(g)
		s.sendable.sub(s.sendableOf(g))
	case groupWaiting:
		heap.Remove(&s.waiting, slices.Index(s.waiting, g))
	case groupHeld:
	}
	g.state = groupHeld
	idle := make(chan struct{})
	close(idle)
	return idle
}

// release ends a hold.
func (s *scheduler) release(key string, now time.Time) {
	g := s.groups[key]
	if g == nil {
		return
	}
	switch g.holders--; {
	case g.holders > 0:
	case g.state != groupHeld:
		g.held = nil
	case g.first == nil:
		s.forget(g)
	default:
		s.makeReady(g, now)
	}
}
