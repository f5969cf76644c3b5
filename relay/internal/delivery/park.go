package delivery

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Codes of events that the relay itself parks. The other codes are the broker's.
const (
	CodeUnusable = "UnusableEvent" // no destination can accept the row
	CodeBinary   = "BinaryValue"   // bytes in a column that is delivered as text
	CodeBlocked  = "BlockedGroup"  // an earlier event of its group is parked
	// CodeMalformed: the content of an emitted message is no event.
	CodeMalformed = "MalformedMessage"
	// CodeIncomplete: the row lacks a column in the log, and no recovery read it from the table.
	CodeIncomplete = "IncompleteRow"
	// CodeUnavailable: the destination has accepted nothing for Options.ParkAfter.
	CodeUnavailable = "DestinationUnavailable"
)

func unavailableSince(since time.Time) *sink.RejectedError {
	return &sink.RejectedError{
		Code:   CodeUnavailable,
		Reason: "the destination has accepted nothing since " + since.UTC().Format(time.RFC3339),
	}
}

// parkUnsent parks an event without sending it, unless an earlier one of its group was not
// delivered, or the event waits behind a dead letter of its group. Its own fault stays known: an
// event that is only blocked follows its dead letter without a command.
func (s *sender) parkUnsent(e *Event, earlier []*Event) {
	switch {
	case e.isBehind(earlier):
		e.err = errBehind
	case e.blockedBy != "" && s.waitsBehind(e):
		s.waitBehind(e)
	case e.blockedBy != "" && e.rejection == nil:
		s.park(e, &sink.RejectedError{Code: CodeBlocked, Reason: BlockedReason(e.blockedBy)})
	default:
		s.park(e, e.rejection)
	}
}

// BlockedReason is the reason with [CodeBlocked], behind the dead letter of the event eventID.
func BlockedReason(eventID string) string { return fmt.Sprintf("%v: %s", errBlocked, eventID) }

// park stores e as a dead letter, unless it is a replay. If e cannot be stored, delivery ends,
// because e counts as delivered only once it is stored.
func (s *sender) park(e *Event, rejection *sink.RejectedError) {
	if e.isReplayed() {
		s.refused(e, rejection)
		return
	}
	if s.policy == Halt {
		e.err = rejection
		s.delivery.end(&HaltError{Destination: s.Name, EventID: e.Message.EventID, Cause: rejection})
		return
	}
	letter := DeadLetter{
		Destination: s.Name,
		Message:     &e.Message,
		Code:        rejection.Code,
		Reason:      rejection.Reason,
		Attempts:    int(e.attempts),
		BlocksGroup: s.policy == ParkAggregate,
		Row:         e.Row,
	}
	if e.isRedriven() {
		letter.Position, letter.BlocksGroup = e.DeadLetter.Position, e.DeadLetter.BlocksGroup
	}
	if e.err = s.delivery.deps.Parker.Park(s.delivery.requests, letter); e.err != nil {
		s.delivery.end(e.err)
		return
	}
	s.delivery.deps.Observer.Parked(s.Name, rejection.Code)
	s.log.Warn("event parked", "event", "event_parked", "event_id", e.Message.EventID, "group", e.Message.GroupID,
		"code", rejection.Code, "reason", rejection.Reason)
	if letter.BlocksGroup {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.scheduler.block(e.Message.GroupID, e.Message.EventID)
	}
}
