package delivery

import (
	"container/heap"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pacer"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// done takes a batch back: events with an err are still to be delivered.
func (q *queue) done(batch []*Event, now time.Time) {
	q.inFlight--
	outcome := q.judge(batch, now)
	for i := len(batch) - 1; i >= 0; i-- { // from the back: put to the front one by one, they keep their order
		e := batch[i]
		if e.err == nil {
			continue
		}
		g := q.groups[e.Message.GroupID]
		g.prepend(e)
		g.failed = g.failed || outcome != pacer.Refused || !sink.IsThrottled(e.err)
	}
	if outcome == pacer.Refused {
		q.putFirst(batch, now)
	}
	for _, e := range batch {
		if g := q.groups[e.Message.GroupID]; g != nil && g.state == groupInFlight {
			q.settle(g, now)
		}
	}
}

// putFirst makes the groups of a request that came too early the next ones to be sent. A refusal of that kind concerns
// the destination, so the groups wait for no backoff of their own.
func (q *queue) putFirst(batch []*Event, now time.Time) {
	for i := len(batch) - 1; i >= 0; i-- {
		g := q.groups[batch[i].Message.GroupID]
		if g == nil || g.state != groupInFlight || g.failed || g.first == nil {
			continue
		}
		q.ready.pushFirst(g)
		q.nowReady(g, now)
	}
}

// judge keeps account of the destination: at which rate it takes requests, and whether it takes any.
func (q *queue) judge(batch []*Event, now time.Time) pacer.Outcome {
	sent, outcome := outcomeOf(batch)
	if batch[0].away {
		q.parking--
	} else {
		q.pacer.Done(outcome, now)
	}
	switch {
	case outcome == pacer.Taken:
		q.failures = 0
	case outcome == pacer.Refused && q.pacer.Works(now): // it takes others
	case sent:
		q.fail(isUnsigned(batch), now)
	}
	return outcome
}

// isUnsigned reports whether a request failed for who signs it, which says nothing about the destination.
func isUnsigned(batch []*Event) bool {
	return slices.ContainsFunc(batch, func(e *Event) bool { return sink.IsIdentity(e.err) })
}

// outcomeOf reports whether any event of batch was sent, and what became of the request.
func outcomeOf(batch []*Event) (sent bool, outcome pacer.Outcome) {
	for _, e := range batch {
		_, suspect := e.err.(*suspectError) // says nothing about the destination
		switch {
		case suspect, !e.isSendable(): // only the relay itself refused it
		case e.err == nil:
			return true, pacer.Taken
		default:
			sent = true
			if sink.IsThrottled(e.err) {
				outcome = pacer.Refused
			}
		}
	}
	return sent, outcome
}

// fail counts a request of which the destination took nothing. Requests that were under way together fail together and
// count once. The time that the destination has before its events are parked begins again after a failure of who signs.
func (q *queue) fail(unsigned bool, now time.Time) {
	if q.failures == 0 || q.unsigned {
		q.failing = now
	}
	q.unsigned = unsigned
	if q.failures == 0 || !q.retryAt.After(now) {
		q.failures++
		q.retryAt = now.Add(q.options.Backoff.after(q.failures))
	}
}

// settle puts a group whose request is done where it belongs.
func (q *queue) settle(g *group, now time.Time) {
	switch {
	case g.first == nil:
		q.forget(g)
	case g.failed:
		g.failed = false
		g.failures++
		g.retryAt = now.Add(q.options.Backoff.after(g.failures))
		g.state = groupWaiting
		heap.Push(&q.waiting, g)
	default:
		g.failures = 0
		q.makeReady(g, now)
	}
}

func (q *queue) makeReady(g *group, now time.Time) {
	q.ready.push(g)
	q.nowReady(g, now)
}

func (q *queue) nowReady(g *group, now time.Time) {
	g.state = groupReady
	if q.sendable.events == 0 {
		q.since = now
	}
	q.sendable.add(q.sendableOf(g))
}
