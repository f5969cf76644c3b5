package delivery

import (
	"container/heap"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pacer"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// scheduler decides which events are sent to one destination, and when. It is a plain state machine
// without clock, lock or goroutine.
//
// Every event belongs to a message group. A group has at most one request in flight and sends its
// events in order. Events that were not delivered return to the front of their group, so no event
// of a group overtakes another.
type scheduler struct {
	limits  sink.Limits
	options Options

	groups   map[string]*group // groups with events that wait or are in flight
	spare    *group            // memory of groups that have no events any more
	blocked  map[string]string // message group to the parked event that blocks it
	behind   map[string]behind // blocked groups of which an event had its turn
	ready    groupList
	waiting  groupHeap // until their backoff ends
	sendable load      // events of the ready groups that batches could hold now
	since    time.Time // when sendable last rose from zero
	bursts   burstDetector
	pacer    pacer.Pacer
	inFlight int  // requests, and batches that are being parked
	others   int  // requests in flight to other destinations
	parking  int  // those of inFlight that are parked because the destination is unavailable
	defers   bool // events of an unavailable destination wait, to be deferred
	// defersBehind says that events behind a dead letter wait, to be deferred.
	defersBehind      bool
	failures          int       // rounds of requests without an accepted event since the last accepted one
	failing           time.Time // since when, while failures is not zero
	credentialsFailed bool      // the last failure concerns the credentials, not the destination
	retryAt           time.Time // when the next request may start after failures
}

func newScheduler(limits sink.Limits, options Options, blocked map[string]string) *scheduler {
	return &scheduler{
		limits: limits, options: options, groups: map[string]*group{}, blocked: blocked,
		behind: map[string]behind{}, pacer: pacer.New(float64(options.MaxRate)),
	}
}

// push appends e to its group.
func (s *scheduler) push(e *Event, now time.Time) {
	g := s.groups[e.Message.GroupID]
	if g == nil {
		g = s.newGroup(e.Message.GroupID)
		g.append(e)
		s.makeReady(g, now)
		s.bursts.add(now, e.Gather)
		return
	}
	g.append(e)
	if g.state == groupReady && !s.oneOfGroup() {
		s.sendable.add(load{1, e.size})
		s.bursts.add(now, e.Gather)
	}
}

func (s *scheduler) newGroup(key string) *group {
	g := s.spare
	if g == nil {
		g = &group{}
	} else {
		s.spare = g.next
	}
	*g = group{key: key}
	s.groups[key] = g
	return g
}

func (s *scheduler) forget(g *group) {
	delete(s.groups, g.key)
	*g = group{next: s.spare}
	s.spare = g
}

// take returns the next batch, which is in flight until [scheduler.done]. Without a batch it
// returns when to ask again. Zero means that only a push or a done can change the answer.
func (s *scheduler) take(now time.Time) (batch []*Event, again time.Time) {
	for len(s.waiting) > 0 && !s.waiting[0].retryAt.After(now) {
		s.makeReady(heap.Pop(&s.waiting).(*group), now)
	}
	s.pacer.Forget(now)
	if s.sendable.events == 0 || s.inFlight >= s.options.InFlight {
		return nil, s.nextRetry()
	}
	if s.failures > 0 { // one request at a time probes the destination
		probing := s.inFlight > s.parking
		switch {
		case (probing || s.retryAt.After(now)) && s.isOverdue(now) && !s.defers:
			return s.fillParked(now), time.Time{}
		case probing:
			return nil, time.Time{}
		case s.retryAt.After(now):
			return nil, s.sooner(s.retryAt, now)
		}
	}
	if s.sendable.events < sink.MaxBatch && s.sendable.bytes < s.limits.MaxBatchBytes {
		// the batch fills while other requests are in flight
		if s.inFlight > 0 && s.inFlight+s.others >= s.options.EagerInFlight {
			return nil, s.nextRetry()
		}
		if due := s.since.Add(max(s.options.Linger, s.bursts.wait(now))); due.After(now) {
			return nil, due
		}
	}
	if turn := s.pacer.Next(now); turn.After(now) {
		return nil, turn
	}
	s.inFlight++
	s.pacer.Sent(now)
	return s.fill(now), time.Time{}
}

// fill pops events from the ready groups until the batch is full, by count or by bytes.
func (s *scheduler) fill(now time.Time) []*Event {
	batch := make([]*Event, 0, sink.MaxBatch)
	room := s.limits.MaxBatchBytes
	fits := func(e *Event) bool {
		return e != nil && len(batch) < sink.MaxBatch && (e.size <= room || len(batch) == 0)
	}
	for s.ready.first != nil && fits(s.ready.first.first) {
		g := s.ready.pop()
		g.state = groupInFlight
		s.sendable.sub(s.sendableOf(g))
		for more := true; more; {
			e := g.pop()
			e.unavailable = false
			if !e.isManual() {
				e.blockedBy = s.blocked[g.key]
			}
			room -= e.size
			batch = append(batch, e)
			more = !s.oneOfGroup() && !s.mayBlock(e) && fits(g.first)
		}
	}
	s.since = now
	return batch
}

// isOverdue reports whether the destination has been unavailable for so long that its events are
// deferred or parked.
func (s *scheduler) isOverdue(now time.Time) bool {
	return s.options.ParkAfter > 0 && !s.credentialsFailed && now.Sub(s.failing) >= s.options.ParkAfter
}

// sooner returns when to ask again: at retryAt, or when the destination becomes overdue before it.
func (s *scheduler) sooner(retryAt, now time.Time) time.Time {
	overdue := s.failing.Add(s.options.ParkAfter)
	if s.options.ParkAfter > 0 && !s.defers && !s.credentialsFailed && overdue.After(now) && overdue.Before(retryAt) {
		return overdue
	}
	return retryAt
}

// fillParked takes a batch that is parked without being sent, because the destination has been
// unavailable for ParkAfter. Events that an operator redrove or replayed are still sent.
func (s *scheduler) fillParked(now time.Time) []*Event {
	s.inFlight++
	s.parking++
	batch := s.fill(now)
	for _, e := range batch {
		e.unavailable = true
		if e.rejection == nil && !e.isManual() {
			e.rejection = unavailableSince(s.failing)
		}
	}
	return batch
}

// block makes every later event of the group wait, or be parked, behind the event with this id, or
// behind an earlier one that blocks the group already.
func (s *scheduler) block(groupID, eventID string) {
	if _, blocked := s.blocked[groupID]; !blocked {
		s.blocked[groupID] = eventID
	}
}

// unblock lets the events of a group flow.
func (s *scheduler) unblock(groupID string) {
	delete(s.blocked, groupID)
	delete(s.behind, groupID)
}

// mayBlock reports whether sending e may block its group, so that the events behind it have to
// wait.
func (s *scheduler) mayBlock(e *Event) bool {
	if e.rejection != nil || e.size > s.limits.MaxMessageBytes {
		return true
	}
	return e.proof != nil &&
		(s.limits.FIFO || s.options.OnRejected != Park && s.options.OnRejected != ParkDefault)
}

// oneOfGroup reports whether a batch holds at most one event of a group. On a FIFO destination, a
// failed entry before a delivered one of its group would be reordered for good, because the
// deduplication id drops a repetition.
func (s *scheduler) oneOfGroup() bool { return s.limits.FIFO && !s.options.GroupBatches }

func (s *scheduler) sendableOf(g *group) load {
	if s.oneOfGroup() {
		return load{1, g.first.size}
	}
	return g.load
}

// nextRetry returns when the backoff of a group ends or the pacer forgets its rate. It returns zero
// if neither is pending.
func (s *scheduler) nextRetry() time.Time {
	switch {
	case len(s.waiting) > 0:
		return s.waiting[0].retryAt
	case s.pacer.Throttled():
		return s.pacer.Expires()
	}
	return time.Time{}
}
