package route

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/emitted"
	"github.com/outbox-relay/outbox-relay/relay/internal/format"
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
	return r.message(e, m, destination, known)
}

// Incomplete is Message for a row that lacks columns and is parked. A missing column may have led
// it elsewhere, so a row that no destination gets is parked at the first one.
func (r *Router) Incomplete(e *outbox.Envelope, m *sink.Message) Routed {
	destination, known := r.route(e)
	if destination == Dropped {
		destination, known = 0, true
	}
	return r.message(e, m, destination, known)
}

func (r *Router) message(e *outbox.Envelope, m *sink.Message, destination int, known bool) Routed {
	var space [2 * maxIdentifier]byte
	text := appendGroup(space[:0], e, r.orderKey)
	groupEnd := len(text)
	made := string(appendOccurredAt(text, e.CreatedAt)) // one allocation for both
	*m = sink.Message{
		EventID:         EventID(e),
		Type:            e.EventType,
		Body:            r.body(e),
		Attributes:      m.Attributes[:0],
		GroupID:         made[:groupEnd],
		TenantID:        r.tenant.of(e, made[:groupEnd]),
		DeduplicationID: DeduplicationID(e, r.schema, r.table),
	}
	routed := Routed{Destination: destination, Problem: r.problem(e)}
	r.fill(e, made[groupEnd:], m, &routed)
	if !known {
		r.routeUnknown(e, &routed)
	}
	return routed
}

// fill fills in what depends on the format of the message. The dead letter of an event that no
// destination can accept has the plain one.
func (r *Router) fill(e *outbox.Envelope, occurredAt string, m *sink.Message, routed *Routed) {
	if f := r.formats.of(e); f != format.Plain && routed.Problem == "" {
		routed.DroppedHeaders, routed.Problem = r.cloudEvent(f, e, occurredAt, m)
		if routed.Problem == "" {
			return
		}
	}
	m.Attributes, m.Own, routed.DroppedHeaders = r.appendAttributes(m.Attributes, e, occurredAt)
}

// body returns the payload for the message. The dead letter of a payload that exceeds every limit
// keeps it too: the outbox table may not, and a redrive can deliver it through a bucket that is set
// later.
func (r *Router) body(e *outbox.Envelope) string {
	switch {
	case len(e.Payload) > r.maxKept():
		return ""
	case e.Payload == "":
		return nullBody
	}
	return e.Payload
}

// maxKept is the longest payload that a dead letter keeps, in bytes.
func (r *Router) maxKept() int { return max(r.maxPayload, emitted.MaxKept) }

// nullBody is the body of an event without a payload.
const nullBody = "null"

// Names of settings in reasons.
const (
	settingBucket   = "RELAY_LARGE_EVENTS_BUCKET"
	settingMaxEvent = "RELAY_MAX_EVENT_BYTES"
)

// problem returns the reason why no destination can accept e, or an empty string.
func (r *Router) problem(e *outbox.Envelope) string {
	if e.Malformed {
		return "the message is no event"
	}
	if len(e.Payload) > r.maxPayload {
		return r.tooLong(e)
	}
	var missing []string
	if e.ID == "" {
		missing = append(missing, "event id")
	}
	if e.EventType == "" && !r.untyped {
		missing = append(missing, "event type")
	}
	if missing == nil {
		return ""
	}
	return strings.Join(missing, ", ") + ": NULL or empty"
}

// tooLong says by how much the payload of e exceeds its limit, and which setting raises that.
func (r *Router) tooLong(e *outbox.Envelope) string {
	reason := fmt.Sprintf("the payload has %d bytes, more than %s allows (%d)", len(e.Payload), settingMaxEvent,
		r.maxPayload)
	if !r.hasBucket {
		reason = fmt.Sprintf("the payload has %d bytes, no message may have more than %d: set %s", len(e.Payload),
			r.maxPayload, settingBucket)
	}
	if len(e.Payload) > r.maxKept() {
		reason += fmt.Sprintf("; the dead letter has none of them, because they are more than %d", r.maxKept())
	}
	return reason
}
