// Package inbox is the consumer's half of the outbox: [Decode] reads the messages of the relay, and
// [Once] records each event in the consumer's own transaction, so that the consumer acts upon it
// once although it may arrive several times.
//
// The sub-packages awssdk and awslambda decode the messages of the AWS SDK and of Lambda. This
// package imports neither.
package inbox

import "time"

// Event is one event, as a consumer receives it. A field is empty if the outbox table has no such
// column.
type Event struct {
	ID            string // the same on every delivery
	Type          string
	AggregateType string
	AggregateID   string // empty if the event belongs to no aggregate, and then it has no order
	// OccurredAt is the time that the outbox table has for the event. It is zero without one, and
	// for times outside of RFC 3339.
	OccurredAt time.Time
	// Sequence orders the events of one aggregate, with gaps. It is nil if the outbox table has no
	// such column.
	Sequence *int64
	// Replay is the number of the replay that sent this message, and 0 on every other delivery.
	Replay int64
	// Headers are all other message attributes, for example traceparent.
	Headers map[string]string
	// Payload has the bytes that the producer wrote.
	Payload []byte
}
