package delivery

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// The limits of a destination change while the relay runs: an operator raises MaximumMessageSize to redrive an event, or
// lowers it.

const (
	// limitsInterval is how often the limits are read although nothing contradicts them.
	limitsInterval = 5 * time.Minute
	// limitsPause is how long limits that were just read are good enough for the next event that does not fit them.
	limitsPause = time.Second
	// limitsTimeout bounds a read that a batch waits for.
	limitsTimeout = 5 * time.Second
)

// limitsReader reads the limits of a destination again, for one user at a time.
type limitsReader struct {
	mu     sync.Mutex
	readAt time.Time // the last read ended; zero before the first
	failed bool
}

// watchLimits reads the limits in regular intervals until no request may be started any more.
func (l *lane) watchLimits() {
	defer l.delivery.wait.Done()
	ticker := time.NewTicker(limitsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-l.delivery.ended:
			return
		case <-ticker.C:
			l.readLimits()
		}
	}
}

// readLimits reads the limits, unless that was just done. Where they cannot be read, those that are known count.
func (l *lane) readLimits() {
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	if !l.reader.readAt.IsZero() && time.Since(l.reader.readAt) < limitsPause {
		return
	}
	before := l.Sink.Limits()
	ctx, cancel := context.WithTimeout(l.delivery.requests, limitsTimeout)
	defer cancel()
	err := l.Sink.ReadLimits(ctx)
	l.reader.readAt = time.Now()
	if err != nil && !l.reader.failed {
		l.log.Warn("limits of the destination cannot be read again, those that are known count", "err", err)
	}
	if l.reader.failed = err != nil; err != nil || l.Sink.Limits() == before {
		return
	}
	limits := l.Sink.Limits()
	l.log.Info("limits of the destination have changed", "max_message_bytes", limits.MaxMessageBytes, "before", before.MaxMessageBytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.limits = limits
}

// examine finds out whether the destination will take e. Whether e is too large is found out when it is sent.
func (l *lane) examine(e *Event) {
	if e.HeadersDropped > 0 {
		l.sayDropped(e, e.HeadersDropped, "no attribute can hold them, or the message has ten")
	}
	limits := l.Sink.Limits()
	l.dropped(e, route.DropUnsendable(&e.Message, limits), "a tab or a line break, with which the topic may deliver the message to no subscription")
	if e.size = e.Message.Size(); e.Problem != "" {
		e.rejection = &sink.RejectedError{Code: cmp.Or(e.ProblemCode, CodeUnusable), Reason: e.Problem}
		return
	}
	if e.size > limits.MaxMessageBytes {
		limits.MaxMessageBytes = math.MaxInt
	}
	e.rejection = sink.Validate(&e.Message, limits)
}

// dropped counts headers that were left out of e.
func (l *lane) dropped(e *Event, headers int, reason string) {
	if headers == 0 {
		return
	}
	l.delivery.deps.Observer.HeadersDropped(headers)
	l.sayDropped(e, headers, reason)
}

// sayDropped logs the first event of the destination that headers were left out of.
func (l *lane) sayDropped(e *Event, headers int, reason string) {
	l.headersDropped.Do(func() {
		l.log.Warn("headers left out of a message: relay_headers_dropped_total counts further ones, which are not logged",
			"event_id", e.Message.EventID, "headers", headers, "reason", reason)
	})
}

// fit makes e as large as the destination takes, or rejects it. An event that is too large has the limits read first.
func (l *lane) fit(e *Event) {
	if e.size <= l.Sink.Limits().MaxMessageBytes || !e.isSendable() {
		return
	}
	l.readLimits()
	limits := l.Sink.Limits()
	l.dropped(e, route.DropHeaders(&e.Message, limits.MaxMessageBytes), "no room in the message")
	e.size = e.Message.Size()
	e.rejection = sink.Validate(&e.Message, limits)
}
