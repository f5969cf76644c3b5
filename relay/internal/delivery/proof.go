package delivery

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const (
	// proofAfter is the minimum time between the first refusal of an event and the one that parks
	// it, if the destination accepts other events in between. A service that refuses healthy events
	// for a moment then parks none. It is less if the maximum backoff is less.
	proofAfter = 3 * time.Second
	// proofAlone is the multiple of that time for which an event has to be refused while the
	// destination accepts no other event, because only refused ones are sent.
	proofAlone = 5
	// maxAlone is how many events are parked in that way before the destination accepts one. If it
	// refuses more, the destination itself is at fault.
	maxAlone = 5
	// alteredAttempts is how often an event is sent whose body arrives as another one each time.
	// The broker has it by then. A standard queue has as many copies.
	alteredAttempts = 3
	// provenFor is how long a destination counts as working after it accepted an event. The refusal
	// of one event says nothing about the destination within that time.
	provenFor = time.Minute
)

// proof is the evidence against an event that its destination refused.
type proof struct {
	since   time.Time // when the first refused request began
	failed  int       // evidence.failed at that time
	counted bool      // counted in evidence.refused
}

// evidence is the recent behaviour of a destination.
type evidence struct {
	acceptedAt    time.Time // the last answer that accepted an event; zero before the first
	acceptedSince time.Time // the latest start of a request of which it accepted an event
	refused       int       // events since it accepted one, each counted once
	refusedAt     time.Time // the start of the request that refused the last of them for the first time
	failed        int       // events that were neither accepted nor refused, counted at each attempt
	inFlight      int       // sent events that it has not refused before
}

// suspectError is a refusal that has to be repeated before it counts.
type suspectError struct{ refusal *sink.RejectedError }

func (e *suspectError) Error() string { return e.refusal.Error() }
func (e *suspectError) Unwrap() error { return e.refusal }

// suspect parks e if its refusal is proven to be its own fault. Otherwise e is sent again.
func (s *sender) suspect(e *Event, refusal *sink.RejectedError) {
	s.doubt(e)
	proven, working := s.weigh(e)
	switch {
	case proven:
		s.park(e, refusal)
	case working:
		s.retry(e, &suspectError{refusal})
	default:
		s.retry(e, refusal)
	}
}

// altered parks e, which arrived as another message, once that has happened too often for a
// transient fault.
func (s *sender) altered(e *Event, err *sink.AlteredError) {
	if e.alterations++; e.alterations < alteredAttempts {
		s.retry(e, err)
		return
	}
	s.park(e, &sink.RejectedError{Code: sink.CodeChecksum, Reason: err.Reason})
}

// doubt records the first refusal of e.
func (s *sender) doubt(e *Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.proof != nil {
		return
	}
	e.proof = &proof{since: e.triedAt, failed: s.evidence.failed}
	s.log.Warn("event refused: it is sent again, and parked if the refusal is repeated",
		"event_id", e.Message.EventID, "group", e.Message.GroupID)
}

// weigh reports whether the refusal of e is proven to be the fault of e, and whether the
// destination works. It is proven if the destination has accepted another event, of the request
// that refused e first or of one that began later. It is also proven if nothing but a few refused
// events was sent to the destination for long. The time counts from the start of one request to
// that of another, because a single answer may be slow: the destination decided at some time before
// it.
func (s *sender) weigh(e *Event) (proven, working bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	evidence := &s.evidence
	working = time.Since(evidence.acceptedAt) < provenFor
	if !e.proof.counted {
		e.proof.counted = true
		evidence.refused++
		if e.proof.since.After(evidence.refusedAt) {
			evidence.refusedAt = e.proof.since
		}
	}
	after, since := min(proofAfter, s.scheduler.options.Backoff.Max), e.triedAt.Sub(e.proof.since)
	switch {
	case !evidence.acceptedSince.Before(e.proof.since):
		return since >= after, working
	case evidence.failed != e.proof.failed:
		// the destination or the network is at fault: the time starts again
		e.proof.since, e.proof.failed = e.triedAt, evidence.failed
		return false, working
	}
	return since >= proofAlone*after && evidence.refused <= maxAlone && evidence.inFlight == 0, working
}
