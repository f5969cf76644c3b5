package delivery

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// preparer is a sink that has work before a request, such as to store large bodies.
type preparer interface {
	// Prepare returns the messages to publish in place of batch, one for each. failed is nil, or
	// has an error for each message that is not ready.
	Prepare(ctx context.Context, batch []*sink.Message) (prepared []*sink.Message, failed []error)
	// Room returns the size that m may have before headers have to be removed.
	Room(m *sink.Message) int
}

// LargeEventObserver counts the bodies that a preparer stores.
type LargeEventObserver interface {
	// Stored counts stored bodies and their bytes.
	Stored(destination string, bodies, bytes int)
	// Unstored counts bodies that could not be stored. err says why the first could not.
	Unstored(destination string, bodies int, err error)
}

// submitPrepared prepares messages, asks again whether this relay may publish, and publishes those
// that are ready. The others have a transient error in their result.
func (s *sender) submitPrepared(ctx context.Context, events []*Event, messages []*sink.Message) ([]sink.Result, error) {
	start := time.Now()
	prepared, failed := s.preparer.Prepare(ctx, messages)
	if failed != nil || &prepared[0] != &messages[0] {
		s.reportPrepared(messages, prepared, failed)
	}
	if failed == nil {
		if err := s.delivery.mayRequest(); err != nil {
			return nil, err
		}
		return s.submit(ctx, events, prepared)
	}
	cause := cmp.Or(failed...)
	holdBehind(events, failed)
	var ready []*Event
	var sendable []*sink.Message
	for i, err := range failed {
		if err == nil {
			ready, sendable = append(ready, events[i]), append(sendable, prepared[i])
		}
	}
	if len(ready) == 0 { // this counts as a request that failed
		s.delivery.deps.Observer.Requested(s.Name, len(events), time.Since(start), cause)
		return nil, cause
	}
	if err := s.delivery.mayRequest(); err != nil {
		return nil, err
	}
	results, err := s.submit(ctx, ready, sendable)
	if err != nil {
		return nil, err
	}
	return spread(events, ready[0].triedAt, results, failed), nil
}

// holdBehind gives an error to each event that is ready and behind one of its group that is not.
func holdBehind(events []*Event, failed []error) {
	held := map[string]bool{}
	for i, e := range events {
		switch group := e.Message.GroupID; {
		case failed[i] != nil:
			held[group] = true
		case held[group]:
			failed[i] = errBehind
		}
	}
}

// spread returns a result for each event: the next of results, or why the event was not sent.
func spread(events []*Event, sent time.Time, results []sink.Result, failed []error) []sink.Result {
	all := make([]sink.Result, len(events))
	for i, e := range events {
		e.triedAt = sent
		if all[i].Err = failed[i]; failed[i] == nil {
			all[i], results = results[0], results[1:]
		}
	}
	return all
}

// reportPrepared counts the bodies. It logs the first failure, and that bodies are stored again.
// The destination may accept other events meanwhile, so its own log lines do not say it.
func (s *sender) reportPrepared(messages, prepared []*sink.Message, failed []error) {
	var stored, bytes, unstored int
	for i, m := range messages {
		switch {
		case failed != nil && failed[i] != nil:
			unstored++
		case prepared[i] != m:
			stored++
			bytes += len(m.Body)
		}
	}
	if stored > 0 {
		s.delivery.deps.Observer.Stored(s.Name, stored, bytes)
	}
	err := cmp.Or(failed...)
	if errors.Is(err, context.Canceled) { // the relay stops
		return
	}
	if unstored > 0 {
		s.delivery.deps.Observer.Unstored(s.Name, unstored, err)
	}
	switch {
	case err != nil && !s.unprepared.Swap(true):
		s.log.Warn("large events of the destination wait, and later ones of their aggregates: retrying",
			"event", "large_events_wait", "code", sink.Code(err), "err", err)
	case err == nil && s.unprepared.Swap(false):
		s.log.Info("large events of the destination are stored again", "event", "large_events_stored")
	}
}
