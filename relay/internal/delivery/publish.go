package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// publish sends events as one request, if there are any. If the broker refuses the request for what is in it, each half
// goes by itself, and so on, until the message that it refuses stands alone.
func (l *lane) publish(events []*Event) {
	if len(events) == 0 {
		return
	}
	results, err := l.request(events)
	if err == nil {
		l.settle(events, results)
		return
	}
	var refused *sink.RejectedError
	if errors.As(err, &refused) {
		l.readLimits() // the size may be the reason, and another one than is known
	}
	switch {
	case len(events) > 1 && sink.PassesInParts(err):
		half := len(events) / 2
		l.publish(events[:half])
		l.publish(l.inOrder(events[:half], events[half:]))
	case refused != nil:
		l.suspect(events[0], refused)
	default:
		l.noteFailed(len(events))
		for _, e := range events {
			l.retry(e, err)
		}
	}
}

// inOrder returns those of events that overtake nothing: what stands behind an event of its group that was not delivered,
// or was parked and blocks it, goes back to the queue.
func (l *lane) inOrder(earlier, events []*Event) []*Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := map[string]bool{}
	for _, e := range earlier {
		if group := e.Message.GroupID; e.err != nil || l.queue.blocked[group] != "" {
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

// request sends events as one request. One whose connection the broker or a proxy had closed while it was idle says nothing
// about the destination. It is repeated at once, on a new connection, and counts neither as a request nor as an attempt.
func (l *lane) request(events []*Event) ([]sink.Result, error) {
	messages := make([]*sink.Message, len(events))
	for i, e := range events {
		messages[i] = &e.Message
	}
	results, err := l.attempt(l.delivery.requests, events, messages)
	if errors.Is(err, sink.ErrConnectionClosed) {
		for _, e := range events {
			e.attempts--
		}
		results, err = l.attempt(sink.OnNewConnection(l.delivery.requests), events, messages)
	}
	if err == nil && len(results) != len(events) {
		err = fmt.Errorf("destination %s answered for %d of %d messages", l.Name, len(results), len(events))
	}
	return results, err
}

func (l *lane) attempt(ctx context.Context, events []*Event, messages []*sink.Message) ([]sink.Result, error) {
	if err := l.delivery.mayRequest(); err != nil {
		return nil, err
	}
	start := time.Now()
	for _, e := range events {
		e.attempts++
		e.triedAt = start
	}
	unjudged := l.noteBegin(events)
	results, err := l.Sink.Publish(ctx, messages)
	l.noteEnd(unjudged)
	if !errors.Is(err, sink.ErrConnectionClosed) || sink.NeedsNewConnection(ctx) {
		l.delivery.deps.Observer.Requested(l.Name, len(events), time.Since(start), err)
	}
	return results, err
}

// settle takes the results of a request message by message.
func (l *lane) settle(events []*Event, results []sink.Result) {
	l.noteTaken(results)
	now := time.Now()
	sinceCommit := make([]time.Duration, 0, len(events))
	for i, e := range events {
		switch err := results[i].Err; {
		case err != nil:
			l.failed(e, err, events[:i])
		case e.isAskedFor():
			l.deliveredAgain(e)
		default:
			e.err = nil
			sinceCommit = append(sinceCommit, e.age(now))
		}
	}
	l.delivery.deps.Observer.Delivered(l.Name, sinceCommit)
}

// failed retries or parks an event that was not taken while others of its request may have been.
func (l *lane) failed(e *Event, err error, earlier []*Event) {
	var refused *sink.RejectedError
	var altered *sink.AlteredError
	switch {
	case !errors.As(err, &refused) && !errors.As(err, &altered):
		l.noteFailed(1)
		l.retry(e, err)
	case e.isBehind(earlier): // it would block what comes before it
		if refused != nil {
			l.doubt(e)
		}
		l.retry(e, errBehind)
	case altered != nil:
		l.altered(e, altered)
	default:
		l.readLimits()
		l.suspect(e, refused)
	}
}

// deliveredAgain takes note of an event that somebody asked for.
func (l *lane) deliveredAgain(e *Event) {
	if e.isRedriven() {
		l.redriven(e)
		return
	}
	l.replayed(e)
}

// noteTaken notes the time if the destination took any event of a request.
func (l *lane) noteTaken(results []sink.Result) {
	if !slices.ContainsFunc(results, func(r sink.Result) bool { return r.Err == nil }) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evidence.tookEventAt, l.evidence.refused = time.Now(), 0
}

// noteBegin notes that events are in flight, and returns how many of them the destination has not refused before.
func (l *lane) noteBegin(events []*Event) (unjudged int) {
	for _, e := range events {
		if e.proof.since.IsZero() {
			unjudged++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evidence.inFlight += unjudged
	return unjudged
}

func (l *lane) noteEnd(unjudged int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evidence.inFlight -= unjudged
}

// noteFailed notes that events were neither taken nor refused.
func (l *lane) noteFailed(events int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evidence.failed += events
}

func (l *lane) retry(e *Event, err error) {
	e.err = err
	l.delivery.deps.Observer.Retried(l.Name, sink.Code(err))
}
