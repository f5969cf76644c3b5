package route

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// maxIdentifier is the longest MessageGroupId and MessageDeduplicationId. They hold printable ASCII without the space.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const maxIdentifier = 128

// maxRedriveSuffix is the longest suffix that [RedriveID] adds.
const maxRedriveSuffix = len("#r-9223372036854775808")

const (
	eventForm = "event:"
	hashForm  = "sha256:"
)

// Group returns the MessageGroupId of e, the same for all events of one aggregate and for no others. It is a contract:
// two relays that disagree about it reorder an aggregate while one replaces the other. There are three forms:
//
//	order/4711         aggregate type and id, with %XX for the bytes that AWS refuses, for % and, in the type, for /
//	event:0198a6…      the event id, where there is no aggregate id; / is written %2F
//	sha256:9f86d0…     SHA-256 of either, in hexadecimal, where it has more than 128 characters
//
// Only the first holds a slash, so the forms never meet.
func Group(e *outbox.Envelope) string {
	var space [maxIdentifier]byte
	return string(appendGroup(space[:0], e))
}

// appendGroup appends the group of e to dst, which is empty.
func appendGroup(dst []byte, e *outbox.Envelope) []byte {
	if e.AggregateID == "" {
		dst = append(dst, eventForm...)
		dst = appendEscaped(dst, EventID(e), "/")
	} else {
		dst = appendEscaped(dst, e.AggregateType, "/")
		dst = append(dst, '/')
		dst = appendEscaped(dst, e.AggregateID, "")
	}
	return fit(dst, maxIdentifier)
}

// DeduplicationID returns the MessageDeduplicationId of the first delivery of e. It is a contract like [Group]:
//
//	0198a6…                    the event id, if it is a UUID in lower case: no other event has it
//	public.outbox_events/17    else schema, table and event id, with %XX for the bytes that AWS refuses, for %, for # and, in
//	                           front of their separator, for . and /; so two tables never swallow each other's events
//	sha256:9f86d0…             SHA-256 of that, where it leaves too little room for the suffix of a redrive
func DeduplicationID(e *outbox.Envelope, schema, table string) string {
	id := EventID(e)
	if isUUID(id) {
		return id
	}
	var space [maxIdentifier]byte
	text := appendEscaped(space[:0], schema, "./#")
	text = append(text, '.')
	text = appendEscaped(text, table, "/#")
	text = append(text, '/')
	text = appendEscaped(text, id, "#")
	return string(fit(text, maxIdentifier-maxRedriveSuffix))
}

// RedriveID returns the MessageDeduplicationId of the n-th redrive of the event with this deduplication id, because for
// five minutes a broker takes a message with an id it knows and delivers nothing. No first delivery has it.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-key-terms.html
func RedriveID(deduplicationID string, n int) string {
	return deduplicationID + "#r" + strconv.Itoa(n)
}

// ReplayID returns the MessageDeduplicationId that an event has in the replay of this number, for the same reason. It is no
// longer than that of a redrive, and never the same.
func ReplayID(deduplicationID string, replay int64) string {
	return deduplicationID + "#p" + strconv.FormatInt(replay, 10)
}

// EventID returns the id of e. An event without one cannot be delivered but has to be parked under some id: that is
// made of its sequence, else of all there is.
func EventID(e *outbox.Envelope) string {
	switch {
	case e.ID != "":
		return e.ID
	case e.Sequence != "":
		return "seq:" + e.Sequence
	}
	var row []byte
	for _, field := range []string{e.XID, e.AggregateType, e.AggregateID, e.EventType, e.Payload, e.Headers, e.CreatedAt} {
		row = strconv.AppendQuote(row, field)
	}
	return string(hash(row))
}

// appendEscaped appends text in characters that AWS takes in an identifier: bytes that are not printable ASCII, the
// space, % and the characters in reserved are written %XX.
func appendEscaped(dst []byte, text, reserved string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c > '~' || c == '%' || contains(reserved, c) {
			dst = append(dst, '%', digits[c>>4], digits[c&0xF])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func contains(set string, c byte) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

// fit returns text, or its hash if it has more than limit bytes.
func fit(text []byte, limit int) []byte {
	if len(text) <= limit {
		return text
	}
	return hash(text)
}

func hash(text []byte) []byte {
	sum := sha256.Sum256(text)
	return hex.AppendEncode([]byte(hashForm), sum[:])
}

// isUUID reports whether id is a UUID as Postgres prints it: lower case with hyphens.
func isUUID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
