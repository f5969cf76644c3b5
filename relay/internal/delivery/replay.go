package delivery

import "github.com/outbox-relay/outbox-relay/relay/internal/sink"

// An event that is replayed goes through the queue of its group like any other: nothing of the group is in flight beside it. It was
// delivered before, so it needs no place among the dead letters when it is refused, and holds up nothing then.

// replayed notes that an event is durable at its destination once more.
func (l *lane) replayed(e *Event) {
	e.err = nil
	l.delivery.deps.Observer.Replayed(l.Name, "")
	e.Replayed(nil)
}

// refused notes that the destination does not take a replayed event.
func (l *lane) refused(e *Event, rejection *sink.RejectedError) {
	e.err = nil
	l.log.Warn("replay of an event refused", "event_id", e.Message.EventID, "group", e.Message.GroupID, "code", rejection.Code, "reason", rejection.Reason)
	l.delivery.deps.Observer.Replayed(l.Name, rejection.Code)
	e.Replayed(rejection)
}
