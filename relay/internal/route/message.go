package route

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Routed is the result of [Router.Message].
type Routed struct {
	Destination    int    // index into [Router.Destinations], or [Dropped]
	Problem        string // why the event has to be parked, or empty
	ProblemCode    string // of the dead letter; empty for the usual one
	DroppedHeaders int    // as [Router.AppendAttributes] counts them
}

// Message fills m with the message for e. It reuses the memory of m.Attributes. The message of a
// dropped event has nothing but its id.
func (r *Router) Message(e *outbox.Envelope, m *sink.Message) Routed {
	destination, known := r.route(e)
	if destination == Dropped {
		*m = sink.Message{EventID: EventID(e), Attributes: m.Attributes[:0]}
		return Routed{Destination: Dropped}
	}
	var space [2 * maxIdentifier]byte
	text := appendGroup(space[:0], e)
	groupEnd := len(text)
	made := string(appendOccurredAt(text, e.CreatedAt)) // one allocation for both
	attributes, dropped := r.appendAttributes(m.Attributes[:0], e, made[groupEnd:])
	*m = sink.Message{
		EventID:         EventID(e),
		Body:            body(e),
		Attributes:      attributes,
		GroupID:         made[:groupEnd],
		TenantID:        r.tenant.of(e, made[:groupEnd]),
		DeduplicationID: DeduplicationID(e, r.schema, r.table),
	}
	routed := Routed{Destination: destination, Problem: Problem(e), DroppedHeaders: dropped}
	if !known {
		r.routeUnknown(e, &routed)
	}
	return routed
}

// body returns the payload for the message. A dead letter of a payload that exceeds every limit
// does not store the payload: the outbox table has it, under the event's id.
func body(e *outbox.Envelope) string {
	if len(e.Payload) > outbox.MaxPayload {
		return ""
	}
	return e.Payload
}

// Problem returns the reason why no destination can accept e, or an empty string.
func Problem(e *outbox.Envelope) string {
	if len(e.Payload) > outbox.MaxPayload {
		return fmt.Sprintf("the payload has %d bytes, no message may have more than %d", len(e.Payload),
			outbox.MaxPayload)
	}
	var missing []string
	if e.ID == "" {
		missing = append(missing, "event id")
	}
	if e.EventType == "" {
		missing = append(missing, "event type")
	}
	if e.Payload == "" {
		missing = append(missing, "payload")
	}
	if missing == nil {
		return ""
	}
	return strings.Join(missing, ", ") + ": NULL or empty"
}
