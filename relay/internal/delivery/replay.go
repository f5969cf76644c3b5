package delivery

import "github.com/outbox-relay/outbox-relay/relay/internal/sink"

// A replayed event passes through the scheduler in its group like any other, so no other event of
// the group is in flight at the same time. It was delivered before. If it is refused, it needs no
// dead letter and blocks nothing.

// replayed records that a replayed event is durable at its destination.
func (s *sender) replayed(e *Event) {
	e.err = nil
	s.delivery.deps.Observer.Replayed(s.Name, "")
	e.Replayed(nil)
}

// refused records that the destination refuses a replayed event.
func (s *sender) refused(e *Event, rejection *sink.RejectedError) {
	e.err = nil
	s.log.Warn("replay of an event refused", "event_id", e.Message.EventID, "group", e.Message.GroupID,
		"code", rejection.Code, "reason", rejection.Reason)
	s.delivery.deps.Observer.Replayed(s.Name, rejection.Code)
	e.Replayed(rejection)
}
