package delivery

import (
	"cmp"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Event is one event on its way to its destination.
type Event struct {
	Message     sink.Message
	Handle      checkpoint.Handle
	CommittedAt time.Time // commit time of its transaction; zero if unknown
	ReadAt      time.Time // when delivery received it; set by [Delivery.Send]
	// Gather is how long e may wait for others that share its request. Only events of a backlog
	// have it.
	Gather time.Duration
	// HeadersDropped is how many headers no message of any destination could hold. They are counted
	// already.
	HeadersDropped int
	Row            Row         // the row of the outbox table that the event was made of
	DeadLetter     *DeadLetter // the dead letter that it comes from; nil for others
	// Replayed is called once when a replayed event is delivered, or with the reason if its
	// destination refuses it. It must not block. It is nil for events that are no replay.
	Replayed func(refused *sink.RejectedError)
	// Deferral names a destination whose deferral has e, although the routes of now lead elsewhere.
	// Empty for nearly all events.
	Deferral string
	// Settled is called once when an event that the Tracker does not know is delivered or parked,
	// or waits in the outbox table. It must not block. It is nil for events that the Tracker knows.
	Settled func()
	// Joined says that the row came with a table or a partition, and that the log did not bring it.
	// Later rows of its group may have been delivered or parked before.
	Joined bool
	// Behind says of such an event that it had its turn, and that a dead letter blocks it.
	Behind bool

	unavailable bool                // parked because its destination is unavailable
	withdrawn   bool                // a dead letter whose redrive was canceled
	attempts    int32               // requests that held it
	alterations int32               // attempts that delivered another body
	rejection   *sink.RejectedError // known before the event is sent
	blockedBy   string              // id of the parked event that blocks its group
	err         error               // error of its last attempt; nil once it is delivered or parked
	triedAt     time.Time           // when its last attempt began
	proof       *proof              // since its first refusal; nil before
	size        int
	group       *group // while it waits for its request or is in it
	next        *Event // the next event of its group
}

// Attempts returns how many requests held e, with the one in flight.
func (e *Event) Attempts() int { return int(e.attempts) }

// MarkUnusable says why no destination can accept e, if there is a reason. Delivery parks e in its
// turn, as a dead letter with this code. An empty code stands for [CodeUnusable].
func (e *Event) MarkUnusable(code, reason string) {
	if reason != "" {
		e.rejection = &sink.RejectedError{Code: cmp.Or(code, CodeUnusable), Reason: reason}
	}
}

// isSendable reports whether e is sent to its destination in its turn.
func (e *Event) isSendable() bool { return e.blockedBy == "" && e.rejection == nil && !e.withdrawn }

// isRedriven reports whether e comes from a dead letter.
func (e *Event) isRedriven() bool { return e.DeadLetter != nil }

// isReplayed reports whether e was delivered before and is sent again.
func (e *Event) isReplayed() bool { return e.Replayed != nil }

// isManual reports whether an operator redrove or replayed e. The Tracker does not know such an
// event, and no parked event holds it back.
func (e *Event) isManual() bool { return e.isRedriven() || e.isReplayed() }

// age returns the time since e was committed, or zero if that is unknown.
func (e *Event) age(now time.Time) time.Duration {
	if e.CommittedAt.IsZero() {
		return 0
	}
	return now.Sub(e.CommittedAt)
}

// isBehind reports whether an earlier event of its batch belongs to its group and was not
// delivered.
func (e *Event) isBehind(earlier []*Event) bool {
	return slices.ContainsFunc(earlier, func(other *Event) bool {
		return other.err != nil && other.Message.GroupID == e.Message.GroupID
	})
}
