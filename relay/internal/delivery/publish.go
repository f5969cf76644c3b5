package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// publish sends events as one request, if there are any. If the broker refuses the request because
// of its content, publish sends each half separately, and so on, until a refused message is alone.
func (s *sender) publish(events []*Event) {
	if len(events) == 0 {
		return
	}
	results, err := s.request(events)
	if err == nil {
		s.settle(events, results)
		return
	}
	var refused *sink.RejectedError
	if errors.As(err, &refused) {
		s.readLimits() // the size may be the reason, with a limit that has changed
	}
	switch {
	case len(events) > 1 && sink.PassesInParts(err):
		half := len(events) / 2
		s.publish(events[:half])
		s.publish(s.inOrder(events[:half], events[half:]))
	case refused != nil:
		s.suspect(events[0], refused)
	default:
		s.noteFailed(len(events))
		for _, e := range events {
			s.retry(e, err)
		}
	}
}

// inOrder returns those of events that overtake nothing. An event goes back to the scheduler if an
// earlier one of its group was not delivered, or was parked and blocks the group.
func (s *sender) inOrder(earlier, events []*Event) []*Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := map[string]bool{}
	for _, e := range earlier {
		if group := e.Message.GroupID; e.err != nil || s.scheduler.blocked[group] != "" {
			held[group] = true
		}
	}
	var free []*Event
	for _, e := range events {
		if e.err = nil; held[e.Message.GroupID] {
			e.err = errBehind
			continue
		}
		free = append(free, e)
	}
	return free
}

// request sends events as one request. A connection that the broker or a proxy closed while it was
// idle says nothing about the destination. The request is then repeated at once on a new
// connection, and counts neither as a request nor as an attempt.
func (s *sender) request(events []*Event) ([]sink.Result, error) {
	messages := make([]*sink.Message, len(events))
	for i, e := range events {
		messages[i] = &e.Message
	}
	results, err := s.attempt(s.delivery.requests, events, messages)
	if errors.Is(err, sink.ErrConnectionClosed) {
		results, err = s.attempt(sink.OnNewConnection(s.delivery.requests), events, messages)
	}
	return results, err
}

func (s *sender) attempt(ctx context.Context, events []*Event, messages []*sink.Message) ([]sink.Result, error) {
	if err := s.delivery.mayRequest(); err != nil {
		return nil, err
	}
	if err := s.open(ctx, len(events)); err != nil {
		return nil, err
	}
	if s.preparer == nil {
		return s.submit(ctx, events, messages)
	}
	return s.submitPrepared(ctx, events, messages)
}

// submit publishes messages, which are those of events.
func (s *sender) submit(ctx context.Context, events []*Event, messages []*sink.Message) ([]sink.Result, error) {
	start := time.Now()
	for _, e := range events {
		e.attempts++
		e.triedAt = start
	}
	unjudged := s.noteBegin(events)
	results, err := s.Sink.Publish(ctx, messages)
	s.noteEnd(unjudged)
	if !errors.Is(err, sink.ErrConnectionClosed) || sink.NeedsNewConnection(ctx) {
		s.delivery.deps.Observer.Requested(s.Name, len(events), time.Since(start), err)
	} else {
		for _, e := range events {
			e.attempts--
		}
	}
	if err == nil && len(results) != len(events) {
		err = fmt.Errorf("destination %s answered for %d of %d messages", s.Name, len(results), len(events))
	}
	return results, err
}

// opener is a sink that has to be opened before its first request.
type opener interface {
	Open(ctx context.Context) error
}

// open opens the sink, if that is necessary, and asks again whether this relay may publish. An
// opening that fails counts as a request that failed.
func (s *sender) open(ctx context.Context, events int) error {
	if s.opener == nil {
		return nil
	}
	start := time.Now()
	if err := s.opener.Open(ctx); err != nil {
		s.delivery.deps.Observer.Requested(s.Name, events, time.Since(start), err)
		return err
	}
	return s.delivery.mayRequest()
}

// settle handles the results of a request, message by message.
func (s *sender) settle(events []*Event, results []sink.Result) {
	s.noteAccepted(events[0].triedAt, results)
	if recorder := s.delivery.deps.Recorder; recorder != nil {
		recorder.Accepted(s.Name, events[0].triedAt, events, results)
	}
	now := time.Now()
	sinceCommit := make([]time.Duration, 0, len(events))
	for i, e := range events {
		switch err := results[i].Err; {
		case err != nil:
			s.failed(e, err, events[:i])
		case e.isManual():
			s.deliveredManual(e)
		default:
			e.err = nil
			sinceCommit = append(sinceCommit, e.age(now))
		}
	}
	s.delivery.deps.Observer.Delivered(s.Name, sinceCommit)
}

// failed retries or parks an event that was not accepted in a request whose other events may have
// been.
func (s *sender) failed(e *Event, err error, earlier []*Event) {
	var refused *sink.RejectedError
	var altered *sink.AlteredError
	switch {
	case !errors.As(err, &refused) && !errors.As(err, &altered):
		s.noteFailed(1)
		s.retry(e, err)
	case e.isBehind(earlier): // parked now, it would block the events before it
		if refused != nil {
			s.doubt(e)
		}
		s.retry(e, errBehind)
	case altered != nil:
		s.altered(e, altered)
	default:
		s.readLimits()
		s.suspect(e, refused)
	}
}

// deliveredManual records an event that an operator redrove or replayed.
func (s *sender) deliveredManual(e *Event) {
	if e.isRedriven() {
		s.redriven(e)
		return
	}
	s.replayed(e)
}

// noteAccepted records that the destination accepted an event of a request that was sent at this
// time, if it accepted any. Events that it refused in an earlier request are no longer counted.
func (s *sender) noteAccepted(sent time.Time, results []sink.Result) {
	if !slices.ContainsFunc(results, func(r sink.Result) bool { return r.Err == nil }) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evidence.acceptedAt = time.Now()
	if sent.After(s.evidence.acceptedSince) {
		s.evidence.acceptedSince = sent
	}
	if !sent.Before(s.evidence.refusedAt) {
		s.evidence.refused = 0
	}
}

// noteBegin records that events are in flight, and returns how many of them the destination has not
// refused before.
func (s *sender) noteBegin(events []*Event) (unjudged int) {
	for _, e := range events {
		if e.proof == nil {
			unjudged++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evidence.inFlight += unjudged
	return unjudged
}

func (s *sender) noteEnd(unjudged int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evidence.inFlight -= unjudged
}

// noteFailed records that events were neither accepted nor refused.
func (s *sender) noteFailed(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evidence.failed += events
}

func (s *sender) retry(e *Event, err error) {
	e.err = err
	s.delivery.deps.Observer.Retried(s.Name, sink.Code(err))
}
