package delivery

import (
	"container/heap"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pacer"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// queue decides what is sent to one destination, and when. It is a plain state machine without clock, lock or goroutine.
//
// Every event belongs to a message group. A group has at most one request in flight, gives its events in order, and takes
// back to its front those that were not delivered: so nothing overtakes within a group.
type queue struct {
	limits  sink.Limits
	options Options

	groups   map[string]*group // those with events, waiting or in flight
	spare    *group            // memory of groups that have none any more
	blocked  map[string]string // message group to the parked event that blocks it
	ready    groupList
	waiting  groupHeap // for their backoff to pass
	sendable load      // events of the ready groups that batches could take now
	since    time.Time // when sendable last rose from zero
	arrivals arrivals
	pacer    pacer.Pacer
	inFlight int       // requests, and batches that are parked
	others   int       // requests under way to other destinations
	parking  int       // those of them that are parked because the destination is away
	failures int       // rounds of requests of which the destination took nothing, since it took something
	failing  time.Time // since when, while failures is not zero
	unsigned bool      // the last of them failed for who signs, not for the destination
	retryAt  time.Time // after failures: the next request may start
}

func newQueue(limits sink.Limits, options Options, blocked map[string]string) *queue {
	return &queue{
		limits: limits, options: options, groups: map[string]*group{}, blocked: blocked, pacer: pacer.New(float64(options.MaxRate)),
	}
}

// push appends e to its group.
func (q *queue) push(e *Event, now time.Time) {
	g := q.groups[e.Message.GroupID]
	if g == nil {
		g = q.newGroup(e.Message.GroupID)
		g.append(e)
		q.makeReady(g, now)
		q.arrivals.add(now, e.Gather)
		return
	}
	g.append(e)
	if g.state == groupReady && !q.oneOfGroup() {
		q.sendable.add(load{1, e.size})
		q.arrivals.add(now, e.Gather)
	}
}

func (q *queue) newGroup(key string) *group {
	g := q.spare
	if g == nil {
		g = &group{}
	} else {
		q.spare = g.next
	}
	*g = group{key: key}
	q.groups[key] = g
	return g
}

func (q *queue) forget(g *group) {
	delete(q.groups, g.key)
	*g = group{next: q.spare}
	q.spare = g
}

// take returns the next batch, which is in flight until [queue.done], or nil and when to ask again: zero if only a push
// or a done can change the answer.
func (q *queue) take(now time.Time) (batch []*Event, again time.Time) {
	for len(q.waiting) > 0 && !q.waiting[0].retryAt.After(now) {
		q.makeReady(heap.Pop(&q.waiting).(*group), now)
	}
	q.pacer.Forget(now)
	if q.sendable.events == 0 || q.inFlight >= q.options.InFlight {
		return nil, q.nextRetry()
	}
	if q.failures > 0 { // one request at a time finds out whether the destination is back
		probing := q.inFlight > q.parking
		switch {
		case (probing || q.retryAt.After(now)) && q.isOverdue(now):
			return q.fillAway(now), time.Time{}
		case probing:
			return nil, time.Time{}
		case q.retryAt.After(now):
			return nil, q.sooner(q.retryAt, now)
		}
	}
	if q.sendable.events < sink.MaxBatch && q.sendable.bytes < q.limits.MaxBatchBytes {
		if q.inFlight > 0 && q.inFlight+q.others >= q.options.EagerInFlight { // the batch fills while its own are under way
			return nil, q.nextRetry()
		}
		if due := q.since.Add(max(q.options.Linger, q.arrivals.wait(now))); due.After(now) {
			return nil, due
		}
	}
	if turn := q.pacer.Next(now); turn.After(now) {
		return nil, turn
	}
	q.inFlight++
	q.pacer.Sent(now)
	return q.fill(now), time.Time{}
}

// fill takes events from the ready groups until the batch is full, by count or by bytes.
func (q *queue) fill(now time.Time) []*Event {
	batch := make([]*Event, 0, sink.MaxBatch)
	room := q.limits.MaxBatchBytes
	fits := func(e *Event) bool {
		return e != nil && len(batch) < sink.MaxBatch && (e.size <= room || len(batch) == 0)
	}
	for q.ready.first != nil && fits(q.ready.first.first) {
		g := q.ready.pop()
		g.state = groupInFlight
		q.sendable.sub(q.sendableOf(g))
		for more := true; more; {
			e := g.pop()
			e.away = false
			if !e.isAskedFor() {
				e.blockedBy = q.blocked[g.key]
			}
			room -= e.size
			batch = append(batch, e)
			more = !q.oneOfGroup() && !q.mayBlock(e) && fits(g.first)
		}
	}
	q.since = now
	return batch
}

// isOverdue reports whether the destination has taken nothing for so long that its events are parked.
func (q *queue) isOverdue(now time.Time) bool {
	return q.options.ParkAfter > 0 && !q.unsigned && now.Sub(q.failing) >= q.options.ParkAfter
}

// sooner returns when to ask again: at retryAt, or when the destination becomes overdue before it.
func (q *queue) sooner(retryAt, now time.Time) time.Time {
	overdue := q.failing.Add(q.options.ParkAfter)
	if q.options.ParkAfter > 0 && !q.unsigned && overdue.After(now) && overdue.Before(retryAt) {
		return overdue
	}
	return retryAt
}

// fillAway takes a batch that is parked, not sent, but for what somebody asked for, who thinks that the destination is back.
func (q *queue) fillAway(now time.Time) []*Event {
	q.inFlight++
	q.parking++
	batch := q.fill(now)
	for _, e := range batch {
		e.away = true
		if e.rejection == nil && !e.isAskedFor() {
			e.rejection = &sink.RejectedError{
				Code:   CodeUnavailable,
				Reason: "the destination has accepted nothing since " + q.failing.UTC().Format(time.RFC3339),
			}
		}
	}
	return batch
}

// block makes every later event of the group park behind the event with this id, or behind the one that came first.
func (q *queue) block(groupID, eventID string) {
	if _, blocked := q.blocked[groupID]; !blocked {
		q.blocked[groupID] = eventID
	}
}

// mayBlock reports whether the group of e may be blocked once e is sent, so that what comes behind it waits.
func (q *queue) mayBlock(e *Event) bool {
	if e.rejection != nil || e.size > q.limits.MaxMessageBytes {
		return true
	}
	return !e.proof.since.IsZero() && (q.limits.FIFO || q.options.OnRejected != Park && q.options.OnRejected != ParkDefault)
}

// oneOfGroup reports whether a batch takes one event of a group at most. On a FIFO destination an entry that failed,
// followed by one of its group that did not, would be a reorder for good: the deduplication id swallows a repetition.
func (q *queue) oneOfGroup() bool { return q.limits.FIFO && !q.options.GroupBatches }

func (q *queue) sendableOf(g *group) load {
	if q.oneOfGroup() {
		return load{1, g.first.size}
	}
	return g.load
}

// nextRetry returns when a group has waited long enough or the pacer forgets its rate; zero if neither is to come.
func (q *queue) nextRetry() time.Time {
	switch {
	case len(q.waiting) > 0:
		return q.waiting[0].retryAt
	case q.pacer.Throttled():
		return q.pacer.Expires()
	}
	return time.Time{}
}
