package delivery

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// The limits of a destination change while the relay runs. An operator raises MaximumMessageSize to
// redrive an event, or lowers it.

const (
	// limitsInterval is how often the relay reads the limits while no event contradicts them.
	limitsInterval = 5 * time.Minute
	// limitsPause is how long limits that were just read stay valid for the next event that exceeds
	// them.
	limitsPause = time.Second
	// limitsTimeout bounds a read that a batch waits for.
	limitsTimeout = 5 * time.Second
)

// limitsReader reads the limits of a destination again. One goroutine uses it at a time.
type limitsReader struct {
	mu     sync.Mutex
	readAt time.Time // when the last read ended; zero before the first
	failed bool
}

// watchLimits reads the limits at regular intervals until no further request may start.
func (s *sender) watchLimits() {
	defer s.delivery.wait.Done()
	ticker := time.NewTicker(limitsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.delivery.ended:
			return
		case <-ticker.C:
			if !s.isPaused() {
				s.readLimits()
			}
		}
	}
}

// readLimits reads the limits, unless that was just done. If the read fails, the known limits stay
// valid.
func (s *sender) readLimits() {
	s.reader.mu.Lock()
	defer s.reader.mu.Unlock()
	if !s.reader.readAt.IsZero() && time.Since(s.reader.readAt) < limitsPause {
		return
	}
	before := s.Sink.Limits()
	ctx, cancel := context.WithTimeout(s.delivery.requests, limitsTimeout)
	defer cancel()
	err := s.Sink.ReadLimits(ctx)
	s.reader.readAt = time.Now()
	if err != nil && !s.reader.failed {
		s.log.Warn("limits of the destination cannot be read again: the known ones stay in use", "err", err)
	}
	if s.reader.failed = err != nil; err != nil || s.Sink.Limits() == before {
		return
	}
	limits := s.Sink.Limits()
	s.log.Info("limits of the destination have changed", "max_message_bytes", limits.MaxMessageBytes,
		"before", before.MaxMessageBytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler.limits = limits
}

// examine validates e by the rules of the destination. fit checks its size when it is sent, because
// the limit may change until then.
func (s *sender) examine(e *Event) {
	if e.HeadersDropped > 0 {
		s.logDropped(e, e.HeadersDropped, "no attribute can hold them, or the message has ten attributes already")
	}
	limits := s.Sink.Limits()
	if e.size = limits.Size(&e.Message); e.rejection != nil {
		return
	}
	limits.MaxMessageBytes = math.MaxInt
	if e.rejection = sink.Validate(&e.Message, limits); e.rejection == nil {
		return
	}
	if headers := route.DropUnsendable(&e.Message, limits); headers > 0 {
		s.countDropped(e, headers,
			"a tab or a line break, with which the topic may deliver the message to no subscription")
		e.size = limits.Size(&e.Message)
		e.rejection = sink.Validate(&e.Message, limits)
	}
}

// countDropped counts headers that e lost.
func (s *sender) countDropped(e *Event, headers int, reason string) {
	if headers == 0 {
		return
	}
	s.delivery.deps.Observer.HeadersDropped(headers)
	s.logDropped(e, headers, reason)
}

// logDropped logs the first event of the destination that lost headers.
func (s *sender) logDropped(e *Event, headers int, reason string) {
	s.headersDropped.Do(func() {
		s.log.Warn(
			"headers excluded from a message: relay_headers_dropped_total counts further ones, which are not logged",
			"event_id", e.Message.EventID, "headers", headers, "reason", reason)
	})
}

// fit makes e as small as the destination requires, or rejects it. It reads the limits first if e
// is too large.
func (s *sender) fit(e *Event) {
	if e.size <= s.roomFor(e) || !e.isSendable() {
		return
	}
	s.readLimits()
	limits := s.Sink.Limits()
	accepted := limits.MaxMessageBytes
	limits.MaxMessageBytes = s.roomFor(e)
	s.countDropped(e, route.DropHeaders(&e.Message, limits), "no room in the message")
	e.size = limits.Size(&e.Message)
	limits.MaxMessageBytes = accepted
	e.rejection = sink.Validate(&e.Message, limits)
}

// roomFor returns the size that e may have with its headers.
func (s *sender) roomFor(e *Event) int {
	if s.preparer != nil {
		return s.preparer.Room(&e.Message)
	}
	return s.Sink.Limits().MaxMessageBytes
}
