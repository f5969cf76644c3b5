package delivery

import (
	"container/heap"
	"errors"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pacer"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// done returns a batch to the scheduler. Events with an err are still to be delivered.
func (s *scheduler) done(batch []*Event, now time.Time) {
	s.inFlight--
	outcome := s.judge(batch, now)
	// backwards, because each is prepended and they keep their order
	for i := len(batch) - 1; i >= 0; i-- {
		e := batch[i]
		if e.err == nil {
			continue
		}
		g := e.group
		g.prepend(e)
		g.failed = g.failed || outcome != pacer.Throttled || !sink.IsThrottled(e.err)
	}
	if outcome == pacer.Throttled {
		s.putFirst(batch, now)
	}
	for _, e := range batch {
		if e.group.state == groupInFlight { // another event of the batch may have settled it
			s.settle(e.group, now)
		}
	}
}

// putFirst makes the groups of a throttled request the next ones to be sent. Throttling concerns
// the destination, so the groups have no backoff of their own.
func (s *scheduler) putFirst(batch []*Event, now time.Time) {
	for i := len(batch) - 1; i >= 0; i-- {
		g := batch[i].group
		if g.state != groupInFlight || g.held != nil || g.failed || g.first == nil {
			continue
		}
		s.ready.pushFirst(g)
		s.nowReady(g, now)
	}
}

// judge updates the state of the destination: the rate at which it accepts requests, and whether it
// is available.
func (s *scheduler) judge(batch []*Event, now time.Time) pacer.Outcome {
	sent, outcome := outcomeOf(batch)
	if batch[0].unavailable {
		s.parking--
	} else {
		s.pacer.Done(outcome, now)
	}
	switch {
	case outcome == pacer.Accepted:
		s.failures = 0
	case outcome == pacer.Throttled && s.pacer.Works(now): // the destination accepts other requests
	case sent:
		s.fail(concernsCredentials(batch), now)
	}
	return outcome
}

// concernsCredentials reports whether a request failed because of its credentials, which says
// nothing about the destination.
func concernsCredentials(batch []*Event) bool {
	return slices.ContainsFunc(batch, func(e *Event) bool { return sink.ConcernsCredentials(e.err) })
}

// outcomeOf reports whether any event of batch was sent, and the outcome of the request.
func outcomeOf(batch []*Event) (sent bool, outcome pacer.Outcome) {
	for _, e := range batch {
		_, suspect := errors.AsType[*suspectError](e.err) // its refusal says nothing about the destination
		switch {
		case suspect, !e.isSendable(): // only the relay itself refused it
		case e.err == nil:
			return true, pacer.Accepted
		default:
			sent = true
			if sink.IsThrottled(e.err) {
				outcome = pacer.Throttled
			}
		}
	}
	return sent, outcome
}

// fail counts a request of which the destination accepted nothing. Requests that were in flight
// together fail together and count once. ParkAfter starts again after a failure of credentials.
func (s *scheduler) fail(credentialsFailed bool, now time.Time) {
	if s.failures == 0 || s.credentialsFailed {
		s.failing = now
	}
	s.credentialsFailed = credentialsFailed
	if s.failures == 0 || !s.retryAt.After(now) {
		s.failures++
		s.retryAt = now.Add(s.options.Backoff.after(s.failures))
	}
}

// settle makes a group whose request is done ready, waiting or held, or forgets it.
func (s *scheduler) settle(g *group, now time.Time) {
	switch {
	case g.held != nil:
		close(g.held)
		g.held, g.failed, g.state = nil, false, groupHeld
	case g.first == nil:
		s.forget(g)
	case g.failed:
		g.failed = false
		g.failures++
		g.retryAt = now.Add(s.options.Backoff.after(g.failures))
		g.state = groupWaiting
		heap.Push(&s.waiting, g)
	default:
		g.failures = 0
		s.makeReady(g, now)
	}
}

func (s *scheduler) makeReady(g *group, now time.Time) {
	s.ready.push(g)
	s.nowReady(g, now)
}

func (s *scheduler) nowReady(g *group, now time.Time) {
	g.state = groupReady
	if s.sendable.events == 0 {
		s.since = now
	}
	s.sendable.add(s.sendableOf(g))
}
