package inbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Message is a message of an SQS queue, independent of the library that received it.
type Message struct {
	Body string
	// Attributes are the message attributes of the types String and Number.
	Attributes map[string]string
}

// Decode reads the event from a message of the relay. It accepts a message that the relay sent to
// the queue, one that came through an SNS topic, with or without raw message delivery, and one that
// a rule of an EventBridge event bus sent. It reads each format of the relay: plain, and a
// CloudEvent in structured or binary mode. A CloudEvent has its subject as AggregateID, and its
// source and every other attribute without a field in Headers.
//
// An error names each attribute that is missing or invalid. It never contains the payload. The same
// message always has the same error, so a retry does not help: leave the message to the dead-letter
// queue.
func Decode(m Message) (Event, error) {
	m, err := withoutEnvelope(m)
	if err != nil {
		return Event{}, fmt.Errorf("decode message: %w", err)
	}
	event, err := read(m)
	if err != nil {
		return Event{}, fmt.Errorf("decode message: %w", err)
	}
	return event, nil
}

// read reads the event of a message in the format of the message.
func read(m Message) (Event, error) {
	switch {
	case isLarge(m):
		return Event{}, errUnresolved
	case isBinary(m):
		return fromBinary(m)
	case isStructured(m):
		return fromStructured(m)
	}
	return fromAttributes(m)
}

// fromAttributes reads an event whose fields are message attributes and whose payload is the body.
func fromAttributes(m Message) (Event, error) {
	r := reader{left: maps.Clone(m.Attributes)}
	event := Event{
		ID:            r.required(outbox.AttributeEventID),
		Type:          r.required(outbox.AttributeEventType),
		AggregateType: r.optional(outbox.AttributeAggregateType),
		AggregateID:   r.optional(outbox.AttributeAggregateID),
		OccurredAt:    r.time(outbox.AttributeOccurredAt),
		Sequence:      r.number(outbox.AttributeSequence),
		Payload:       []byte(m.Body),
	}
	if replay := r.number(outbox.AttributeReplay); replay != nil {
		event.Replay = *replay
	}
	if m.Body == "" {
		r.problems = append(r.problems, errors.New("the body is empty"))
	}
	if len(r.left) > 0 {
		event.Headers = r.left
	}
	if err := r.err(); err != nil {
		return Event{}, err
	}
	return event, nil
}

// reader takes the attributes of an event out of left, and collects their problems.
type reader struct {
	left     map[string]string
	missing  []string
	problems []error
}

func (r *reader) optional(name string) string {
	value := r.left[name]
	delete(r.left, name)
	return value
}

func (r *reader) required(name string) string {
	value := r.optional(name)
	if value == "" {
		r.missing = append(r.missing, name)
	}
	return value
}

func (r *reader) time(name string) time.Time {
	text := r.optional(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("attribute %s is %s, want a time of RFC 3339", name, quote(text)))
	}
	return t
}

func (r *reader) number(name string) *int64 {
	text := r.optional(name)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("attribute %s is %s, want an integer of 64 bits", name, quote(text)))
	}
	return &n
}

// err returns all problems of the message.
func (r *reader) err() error {
	if r.missing != nil {
		r.problems = slices.Insert(r.problems, 0, fmt.Errorf("no attribute %s: request all attributes "+
			"(MessageAttributeNames: All), and check that the relay sent the message", strings.Join(r.missing, ", ")))
	}
	return errors.Join(r.problems...)
}

// quote returns text for an error. An attribute has up to 1 MiB.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}
