package delivery

import (
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Codes of events that the relay itself parks, beside those of the broker.
const (
	CodeUnusable = "UnusableEvent" // whatever the destination
	CodeBinary   = "BinaryValue"   // bytes in a column that is delivered as text
	CodeBlocked  = "BlockedGroup"  // behind another one of its group
	// CodeUnavailable: the destination has accepted nothing for Options.ParkAfter.
	CodeUnavailable = "DestinationUnavailable"
)

// parkUnsent parks an event that is not to be sent, unless an earlier one of its group was not delivered.
func (l *lane) parkUnsent(e *Event, earlier []*Event) {
	switch {
	case e.isBehind(earlier):
		e.err = errBehind
	case e.blockedBy != "":
		reason := fmt.Sprintf("%v: %s", errBlocked, e.blockedBy)
		l.park(e, &sink.RejectedError{Code: CodeBlocked, Reason: reason})
	default:
		l.park(e, e.rejection)
	}
}

// park stores e as a dead letter, but for one that is replayed. An event that cannot be stored ends delivery: it counts as
// delivered only once it is.
func (l *lane) park(e *Event, rejection *sink.RejectedError) {
	if e.isReplayed() {
		l.refused(e, rejection)
		return
	}
	if l.policy == Halt {
		e.err = rejection
		l.delivery.end(&RejectedError{Destination: l.Name, EventID: e.Message.EventID, Cause: rejection})
		return
	}
	blocks := l.policy == ParkAggregate
	if e.isRedriven() {
		blocks = e.Letter.BlocksGroup
	}
	e.err = l.delivery.deps.Parker.Park(l.delivery.requests, Parked{
		Destination: l.Name,
		Message:     &e.Message,
		Code:        rejection.Code,
		Reason:      rejection.Reason,
		Attempts:    e.attempts,
		BlocksGroup: blocks,
		Row:         e.Row,
		Letter:      e.Letter,
	})
	if e.err != nil {
		l.delivery.end(e.err)
		return
	}
	l.delivery.deps.Observer.Parked(l.Name, rejection.Code)
	l.log.Warn("event parked", "event_id", e.Message.EventID, "group", e.Message.GroupID, "code", rejection.Code, "reason", rejection.Reason)
	if blocks {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queue.block(e.Message.GroupID, e.Message.EventID)
	}
}
