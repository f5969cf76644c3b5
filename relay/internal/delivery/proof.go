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
	// proofAlone is for how many of these times an event is refused instead while the destination takes no event, because
	// refused ones are all that is sent.
	proofAlone = 5
	// maxAlone is how many events are parked in that way before the destination takes one. Where more are refused, the
	// destination is at fault itself.
	maxAlone = 5
	// alteredAttempts is how often an event is sent whose body arrives as another one each time. The broker has it by then,
	// in so many copies on a standard queue.
	alteredAttempts = 3
	// provenFor is how long a destination counts as working after it took an event. The refusal of one event says nothing
	// about it then.
	provenFor = time.Minute
)

// proof is what is known of an event that its destination refused.
type proof struct {
	since   time.Time // the request that was refused first began
	failed  int       // of evidence.failed, then
	counted bool      // in evidence.refused
}

// evidence is what a destination has shown of itself.
type evidence struct {
	tookEventAt time.Time // zero before the first
	refused     int       // events, each once, since it took one
	failed      int       // events that were neither taken nor refused, each as often as it was sent
	inFlight    int       // events that it has not refused before
}

// suspectError is the refusal of an event that is to be refused again before it counts.
type suspectError struct{ refusal *sink.RejectedError }

func (e *suspectError) Error() string { return e.refusal.Error() }
func (e *suspectError) Unwrap() error { return e.refusal }

// suspect parks e if its refusal is proven to be its own fault, else it is sent again.
func (l *lane) suspect(e *Event, refusal *sink.RejectedError) {
	l.doubt(e)
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

// doubt notes when e was refused first.
func (l *lane) doubt(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !e.proof.since.IsZero() {
		return
	}
	e.proof = proof{since: e.triedAt, failed: l.evidence.failed}
	l.log.Warn("event refused, which is to be proven before it is parked", "event_id", e.Message.EventID, "group", e.Message.GroupID)
}

// weigh reports whether the refusal of e is proven to be the fault of e, and whether the destination works. The
// destination has taken another event since the first refusal, or nothing but a few refused events was sent to it for
// long. The time counts from one request to another, because a single answer may be slow.
func (l *lane) weigh(e *Event) (proven, working bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := &l.evidence
	working = time.Since(shown.tookEventAt) < provenFor
	if !e.proof.counted {
		e.proof.counted = true
		shown.refused++
	}
	after, since := min(proofAfter, l.queue.options.Backoff.Max), e.triedAt.Sub(e.proof.since)
	switch {
	case !shown.tookEventAt.Before(e.proof.since):
		return since >= after, working
	case shown.failed != e.proof.failed: // the destination, or the way to it, has a fault of its own: from now on, then
		e.proof.since, e.proof.failed = e.triedAt, shown.failed
		return false, working
	}
	return since >= proofAlone*after && shown.refused <= maxAlone && shown.inFlight == 0, working
}
