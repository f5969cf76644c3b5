package delivery

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const (
	// proofAfter is how long after its first refusal an event has to be refused again before it is parked, if the
	// destination takes other events meanwhile: a service that refuses healthy events for a moment parks none. It is
	// less where the backoff between attempts never grows to that.
	proofAfter = 3 * time.Second
	// proofAlone is for how many of these times it is refused instead while no other event is sent that could show
	// whether the destination works.
	proofAlone = 5
	// alteredAttempts is how often an event is sent whose body arrives as another one each time. The broker has it by then,
	// in so many copies on a standard queue.
	alteredAttempts = 3
	// provenFor is how long a destination counts as working after it took an event. The refusal of one event says nothing
	// about it then.
	provenFor = time.Minute
)

// proof is what is known of an event that its destination refused.
type proof struct {
	since  time.Time // the request that was refused first began
	others int       // events that had been sent to the destination by then, without this one
}

// suspectError is the refusal of an event that is to be refused again before it counts.
type suspectError struct{ refusal *sink.RejectedError }

func (e *suspectError) Error() string { return e.refusal.Error() }
func (e *suspectError) Unwrap() error { return e.refusal }

// suspect parks e if its refusal is proven to be its own fault, else it is sent again.
func (l *lane) suspect(e *Event, refusal *sink.RejectedError) {
	proven, working := l.weigh(e)
	switch {
	case proven:
		l.park(e, refusal)
	case working:
		l.retry(e, &suspectError{refusal})
	default:
		l.retry(e, refusal)
	}
}

// altered parks e, which arrived as another message, once that has happened too often to be a fault of the moment.
func (l *lane) altered(e *Event, err *sink.AlteredError) {
	if e.alterations++; e.alterations < alteredAttempts {
		l.retry(e, err)
		return
	}
	l.park(e, &sink.RejectedError{Code: sink.CodeChecksum, Reason: err.Reason})
}

// weigh reports whether e has been refused twice, long enough apart, by a destination that took another event meanwhile or
// was sent none, and whether the destination works. A destination that refuses everything is at fault itself.
func (l *lane) weigh(e *Event) (proven, working bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	working = time.Since(l.tookEventAt) < provenFor
	others := l.sent - e.attempts
	if e.proof.since.IsZero() {
		e.proof = proof{since: e.triedAt, others: others}
		l.log.Warn("event refused, which is to be proven before it is parked", "event_id", e.Message.EventID, "group", e.Message.GroupID)
		return false, working
	}
	after := min(proofAfter, l.queue.options.Backoff.Max)
	switch since := time.Since(e.proof.since); {
	case !l.tookEventAt.Before(e.proof.since):
		return since >= after, working
	case others == e.proof.others:
		return since >= proofAlone*after, working
	}
	return false, working
}
