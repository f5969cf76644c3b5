package route

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// AppendAttributes appends the message attributes of e to dst. The order is the relay's own
// attributes, then the columns that become attributes, then traceparent, then the other headers in
// the order of the setting, up to [outbox.MaxAttributes]. It skips empty values.
//
// A header never blocks an event. AppendAttributes drops the headers that AWS would refuse, that
// have the name of one of the relay's own attributes, or that find no room. dropped counts them.
// Headers that cannot be read count as one.
func (r *Router) AppendAttributes(dst []sink.Attribute, e *outbox.Envelope) (attributes []sink.Attribute, dropped int) {
	attributes, _, dropped = r.appendAttributes(dst, e, string(appendOccurredAt(nil, e.CreatedAt)))
	return attributes, dropped
}

func (r *Router) appendAttributes(dst []sink.Attribute, e *outbox.Envelope,
	occurredAt string,
) (attributes []sink.Attribute, own, dropped int) {
	start := len(dst)
	dst = r.appendOwn(dst, e, occurredAt)
	dst = appendNotEmpty(dst, r.names.payloadEncoding, sink.String, encoding(e))
	own = len(dst) - start
	dst, dropped = r.appendFurther(dst, start, e, &r.headers)
	return dst, own, dropped
}

// appendOwn appends the relay's own attributes, without that of the payload.
func (r *Router) appendOwn(dst []sink.Attribute, e *outbox.Envelope, occurredAt string) []sink.Attribute {
	names := &r.names
	dst = appendNotEmpty(dst, names.eventID, sink.String, EventID(e))
	dst = appendNotEmpty(dst, names.eventType, sink.String, e.EventType)
	dst = appendNotEmpty(dst, names.aggregateType, sink.String, e.AggregateType)
	dst = appendNotEmpty(dst, names.aggregateID, sink.String, e.AggregateID)
	dst = appendNotEmpty(dst, names.occurredAt, sink.String, occurredAt)
	dst = appendNotEmpty(dst, names.sequence, sequenceType(e.Sequence), e.Sequence)
	if e.Source == nil {
		return dst
	}
	return appendNotEmpty(dst, names.table, sink.String, e.Source.Table)
}

// appendFurther appends the attributes of columns and of headers to those of a message, which begin
// at start.
func (r *Router) appendFurther(dst []sink.Attribute, start int, e *outbox.Envelope,
	headers *Headers,
) (attributes []sink.Attribute, dropped int) {
	if len(r.columns) > 0 {
		dst, dropped = r.appendColumns(dst, start, e)
	}
	if e.Headers == "" || e.Headers == "{}" {
		return dst, dropped
	}
	dst, without := headers.appendTo(dst, e.Headers, outbox.MaxAttributes-(len(dst)-start))
	return dst, dropped + without
}

// encoding returns how the body is made of the payload, or nothing if it is the payload.
func encoding(e *outbox.Envelope) string {
	switch {
	case e.Payload == "":
		return outbox.EncodingNull
	case e.Base64:
		return outbox.EncodingBase64
	}
	return ""
}

func appendNotEmpty(dst []sink.Attribute, name string, dataType sink.DataType, value string) []sink.Attribute {
	if value == "" || name == "" {
		return dst
	}
	return append(dst, sink.Attribute{Name: name, DataType: dataType, Value: value})
}

// appendTo appends up to room attributes from the headers in text.
func (h *Headers) appendTo(dst []sink.Attribute, text string, room int) (attributes []sink.Attribute, dropped int) {
	var space [8]header
	headers, ok := readHeaders(space[:0], text)
	if !ok {
		return dst, 1
	}
	sendable := headers[:0]
	for _, candidate := range headers {
		switch rank := h.rank(candidate.name); {
		case candidate.value == "" || rank == rankOff:
		case h.isOwn(candidate.name), !validName(candidate.name, rank), !outbox.ValidText(candidate.value):
			dropped++
		default:
			candidate.rank = rank
			sendable = append(sendable, candidate)
		}
	}
	slices.SortFunc(sendable, func(a, b header) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	room = min(room, len(sendable))
	for _, chosen := range sendable[:room] {
		dst = append(dst, sink.Attribute{Name: chosen.name, DataType: sink.String, Value: chosen.value})
	}
	return dst, dropped + len(sendable) - room
}

// DropUnsendable removes attributes from headers because of which a destination with these limits
// could lose the message. It returns the number of removed attributes. The relay's own attributes
// stay, because subscriptions filter by them.
func DropUnsendable(m *sink.Message, limits sink.Limits) (dropped int) {
	if !limits.OneLine {
		return 0
	}
	before, own := len(m.Attributes), ownAttributes(m)
	kept := slices.DeleteFunc(m.Attributes[own:], func(a sink.Attribute) bool { return !a.IsOneLine() })
	m.Attributes = m.Attributes[:own+len(kept)]
	return before - len(m.Attributes)
}

// DropHeaders removes attributes that are not the relay's own, the last first, until m is as small
// as limits require. It returns the number of removed attributes. A message that is too long
// without headers stays too long.
func DropHeaders(m *sink.Message, limits sink.Limits) (dropped int) {
	own := ownAttributes(m)
	for ; limits.Size(m) > limits.MaxMessageBytes && len(m.Attributes) > own; dropped++ {
		m.Attributes = m.Attributes[:len(m.Attributes)-1]
	}
	return dropped
}

// validName is a faster check for names that were valid before, which is nearly every name.
func validName(name string, rank int) bool {
	return rank < rankOthers || outbox.ValidAttributeName(name)
}

// isOwn reports whether a header has the name of one of the relay's own attributes, or of a column.
func (h *Headers) isOwn(name string) bool {
	if h.cloudEvents && isOfCloudEvents(name) {
		return true
	}
	if h.own == nil {
		return isOwn(name)
	}
	return slices.Contains(h.own, name)
}

func isOwn(name string) bool {
	switch name {
	case outbox.AttributeEventID, outbox.AttributeEventType, outbox.AttributeAggregateType, outbox.AttributeAggregateID,
		outbox.AttributeOccurredAt, outbox.AttributeSequence, outbox.AttributeReplay, outbox.AttributePayloadEncoding:
		return true
	}
	return false
}

// timestamps are the formats in which Postgres prints a timestamp with DateStyle ISO. The offset of
// the time zone has hours, minutes or, for historic dates, seconds. A column without a time zone
// has no offset and counts as UTC.
// https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-OUTPUT
var timestamps = []string{
	"2006-01-02 15:04:05-07", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05-07:00:00",
	"2006-01-02 15:04:05",
}

// appendOccurredAt appends a Postgres timestamp as RFC 3339 in UTC with microseconds. It appends
// nothing for values outside of RFC 3339, such as infinity and years before 1 or after 9999.
func appendOccurredAt(dst []byte, createdAt string) []byte {
	if seconds, ok := cutUsual(createdAt); ok {
		dst = append(dst, seconds[:len("2006-01-02")]...)
		dst = append(dst, 'T')
		dst = append(dst, seconds[len("2006-01-02 "):]...)
		dst = append(dst, usual[len(seconds):]...) // the zeros that Postgres omits
		return append(dst, 'Z')
	}
	for _, layout := range timestamps {
		t, err := time.Parse(layout, createdAt)
		if t = t.UTC(); err == nil && t.Year() <= 9999 {
			return t.AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
		}
	}
	return dst
}

// usual is the form of nearly all timestamps, with any digits. They are in UTC, which the relay's
// connections set. Postgres omits the zeros at the end, and the point if no other digit follows.
const usual, usualZone = "0000-00-00 00:00:00.000000", "+00"

// cutUsual returns a timestamp of the usual form without its zone, provided that Postgres printed
// it. Parsing the timestamp and formatting it again would cost ten times as much.
func cutUsual(createdAt string) (seconds string, ok bool) {
	seconds, ok = strings.CutSuffix(createdAt, usualZone)
	if !ok || len(seconds) < len("0000-00-00 00:00:00") || len(seconds) > len(usual) {
		return "", false
	}
	for i := range len(seconds) {
		isDigit := seconds[i] >= '0' && seconds[i] <= '9'
		if isDigit != (usual[i] == '0') || !isDigit && seconds[i] != usual[i] {
			return "", false
		}
	}
	return seconds, true
}

// sequenceType returns the attribute's data type for a value of the column seq: Number if SQS
// accepts the value as a number, else String.
func sequenceType(sequence string) sink.DataType {
	digits := sequence
	if len(digits) > 1 && digits[0] == '-' {
		digits = digits[1:]
	}
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
	const maxDigits = 38
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return sink.String
		}
	}
	if len(digits) > maxDigits {
		return sink.String
	}
	return sink.Number
}
