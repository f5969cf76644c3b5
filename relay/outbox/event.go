// Package outbox is the contract between a producer and the relay. [Insert] writes events in the
// producer's own transaction. The constants name the message attributes that a consumer reads.
package outbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Names of the message attributes that the relay sets. A header with one of these names is
// refused by [Event.Validate].
const (
	AttributeEventID       = "event_id"       // chosen by the producer: the consumer's idempotency key
	AttributeEventType     = "event_type"     // for subscription filter policies
	AttributeAggregateType = "aggregate_type" //
	AttributeAggregateID   = "aggregate_id"   // missing if empty, because SNS refuses an empty value
	AttributeOccurredAt    = "occurred_at"    // RFC 3339, UTC, microseconds
	AttributeSequence      = "sequence"       // the column seq: orders the events of one aggregate, with gaps
	// the number of the replay that resends the event; on no other delivery
	AttributeReplay = "replay"
	// how the body was made of the payload, if it is not the payload itself: see [EncodingBase64]
	AttributePayloadEncoding = "payload_encoding"
	// AttributeTable is on the messages of a relay with several outbox tables: schema.name of the
	// event's table.
	AttributeTable       = "outbox_table"
	AttributeTraceparent = "traceparent" // from the header of that name; see https://www.w3.org/TR/trace-context/
)

// Names of the message attributes of a CloudEvent. They are those of HTTP headers.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
const (
	CloudEventPrefix     = "ce-"          // of each attribute of the context, in binary mode
	AttributeContentType = "content-type" // the media type of the body
)

// ContentTypeCloudEvent is the media type of a body that is a CloudEvent in structured mode.
const ContentTypeCloudEvent = "application/cloudevents+json"

// A message with this attribute points to a body in S3, in the format of Amazon's Extended Client
// Libraries. The value is the length of the body in bytes.
const AttributeLargeEvent = "ExtendedPayloadSize"

// LargeEventPointer is the first element of the JSON array that is the body of such a message. The
// second is an object with the members s3BucketName and s3Key.
const LargeEventPointer = "software.amazon.payloadoffloading.PayloadS3Pointer"

// MaxAttributes is the highest number of attributes on a message. SQS refuses more. SNS accepts
// more, but drops the message for a subscription with raw delivery and does not tell the publisher.
// https://docs.aws.amazon.com/sns/latest/dg/SNSMessageAttributes.html
const MaxAttributes = 10

// MaxPayload is the longest payload in bytes, which is the size limit of an SQS message. See
// [Event.MaxBytes] for larger events.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const MaxPayload = 1 << 20

// The values of [AttributePayloadEncoding].
const (
	EncodingBase64 = "base64" // the payload is bytes, and the body has them in base64 (RFC 4648, with padding)
	EncodingNull   = "null"   // the payload is NULL or empty, and the body is null: brokers accept no empty body
)

// HeaderTraceparent and HeaderXRay carry the trace of the request that caused an event.
const (
	HeaderTraceparent = AttributeTraceparent
	HeaderXRay        = "x-amzn-trace-id"
)

// Event is one fact about one aggregate, as a producer writes it.
type Event struct {
	// ID stays the same on every delivery. [Insert] fills a zero ID with a UUIDv7.
	ID uuid.UUID
	// AggregateType and AggregateID name the entity that the event is about. A FIFO destination
	// delivers the events of one aggregate in commit order. If both are empty, the event has no
	// order.
	AggregateType string
	AggregateID   string
	// Type names the kind of the event, for example "order.created". It must not be empty.
	Type string
	// Payload is delivered byte for byte.
	Payload json.RawMessage
	// Headers become message attributes, as far as [MaxAttributes] leaves room beside the relay's
	// own.
	Headers map[string]string
	// MaxBytes is the longest payload that [Event.Validate] accepts, in bytes. Zero means
	// [MaxPayload]. A larger event needs a relay with RELAY_LARGE_EVENTS_BUCKET, which parks events
	// beyond its RELAY_MAX_EVENT_BYTES.
	MaxBytes int
}

var reservedHeaders = []string{
	AttributeEventID, AttributeEventType, AttributeAggregateType, AttributeAggregateID, AttributeOccurredAt,
	AttributeSequence,
	AttributeReplay, AttributePayloadEncoding,
}

// Validate returns every reason why a broker would refuse the event, joined, or nil.
func (e Event) Validate() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if e.Type == "" {
		report("type is empty")
	}
	for name, text := range map[string]string{
		"type": e.Type, "aggregate type": e.AggregateType,
		"aggregate id": e.AggregateID,
	} {
		if !ValidText(text) {
			report("%s has a character that no SQS message may hold", name)
		}
	}
	switch {
	case len(e.Payload) > cmp.Or(e.MaxBytes, MaxPayload):
		report("payload of %d bytes is longer than %d", len(e.Payload), cmp.Or(e.MaxBytes, MaxPayload))
	case !json.Valid(e.Payload) || !ValidText(string(e.Payload)):
		report("payload is not JSON")
	}
	for name, value := range e.Headers {
		if err := validateHeader(name, value); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func validateHeader(name, value string) error {
	switch {
	case slices.Contains(reservedHeaders, name):
		return fmt.Errorf("header %q has the name of one of the relay's own message attributes", name)
	case !ValidAttributeName(name):
		return fmt.Errorf("header %q cannot be the name of a message attribute", name)
	case value == "" || !ValidText(value):
		return fmt.Errorf("header %q is empty or has a character that no SQS message may hold", name)
	}
	return nil
}

// ValidAttributeName reports whether AWS accepts name as the name of a message attribute.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
func ValidAttributeName(name string) bool {
	if name == "" || len(name) > 255 || name[0] == '.' || name[len(name)-1] == '.' {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		case c == '.' && name[i+1] != '.': // the last character is no dot
		default:
			return false
		}
	}
	return !hasPrefixFold(name, "aws.") && !hasPrefixFold(name, "amazon.")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && s[0]|0x20 == prefix[0] && strings.EqualFold(s[:len(prefix)], prefix)
}

// ValidText reports whether SQS accepts text in a body or an attribute: valid UTF-8 with only the
// characters that XML 1.0 allows.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func ValidText(text string) bool {
	text = text[plainPrefix(text):]
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return true
}

// plainPrefix returns the number of leading bytes that are ASCII and no control characters. It
// checks eight bytes at a time, because most texts hold nothing else and a check of each character
// costs ten times as much.
func plainPrefix(text string) int {
	const high, space = 0x8080808080808080, 0x2020202020202020
	n := 0
	for ; len(text)-n >= 8; n += 8 {
		eight := text[n : n+8]
		word := uint64(eight[0]) | uint64(eight[1])<<8 | uint64(eight[2])<<16 | uint64(eight[3])<<24 |
			uint64(eight[4])<<32 | uint64(eight[5])<<40 | uint64(eight[6])<<48 | uint64(eight[7])<<56
		if (word|(word-space))&high != 0 { // true if a byte is below the space or above ASCII
			return n
		}
	}
	for n < len(text) && text[n] >= ' ' && text[n] < utf8.RuneSelf {
		n++
	}
	return n
}
