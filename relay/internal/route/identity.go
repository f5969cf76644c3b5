package route

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// maxIdentifier is the length limit of MessageGroupId and MessageDeduplicationId. Both consist of
// printable ASCII without the space.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const maxIdentifier = 128

// maxRedriveSuffix is the length of the longest suffix that [RedriveID] appends.
const maxRedriveSuffix = len("#r-9223372036854775808")

const (
	keyForm   = "key:"
	eventForm = "event:"
	hashForm  = "sha256:"
)

// Group returns the MessageGroupId of e. It is equal for all events of one aggregate and for no
// others. It is a contract: two versions of the relay with different groups would reorder an
// aggregate during a rolling upgrade. There are four forms:
//
//	order/4711         aggregate type and id; %XX stands for the bytes that AWS refuses, for %
//	                   and, in the type, for /
//	key:acme,17        the columns of RELAY_ORDER_KEY, if it is set; / is written %2F, and
//	                   the comma %2C
//	event:0198a6…      the event id, where there is no aggregate id, or every column of the key is
//	                   empty; / is written %2F. An emitted event has no columns, so its unit of
//	                   order is the aggregate even if there is a key
//	sha256:9f86d0…     SHA-256 of either, in hexadecimal, where it has more than 128 characters
//
// Only the first form contains a slash, so two forms never collide. key are the indexes of the
// key's columns in e.Extra.
//
// A relay with several tables writes the table before each form, as in
// tenant_a.outbox/order/4711: the aggregates of two tables are two groups, whatever their ids.
func Group(e *outbox.Envelope, key []int) string {
	var space [maxIdentifier]byte
	return string(appendGroup(space[:0], e, key))
}

// appendGroup appends the group of e to dst, which must be empty.
func appendGroup(dst []byte, e *outbox.Envelope, key []int) []byte {
	if e.Source != nil {
		dst = append(appendEscaped(dst, e.Source.Table, "/"), '/')
	}
	switch {
	case !hasOrder(e, key):
		dst = append(dst, eventForm...)
		dst = appendEscaped(dst, EventID(e), "/")
	case len(key) > 0 && !e.Emitted:
		dst = appendKey(dst, e, key)
	default:
		dst = appendEscaped(dst, e.AggregateType, "/")
		dst = append(dst, '/')
		dst = appendEscaped(dst, e.AggregateID, "")
	}
	return fit(dst, maxIdentifier)
}

// hasOrder reports whether e has an order among other events: it has an aggregate or, in place of
// that, a column of the key has a text.
func hasOrder(e *outbox.Envelope, key []int) bool {
	if len(key) == 0 || e.Emitted {
		return e.AggregateID != ""
	}
	return slices.ContainsFunc(key, func(i int) bool { return e.Extra[i] != "" })
}

func appendKey(dst []byte, e *outbox.Envelope, key []int) []byte {
	dst = append(dst, keyForm...)
	for n, i := range key {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = appendEscaped(dst, e.Extra[i], "/,")
	}
	return dst
}

// DeduplicationID returns the MessageDeduplicationId of the first delivery of e. It is a contract
// like [Group]:
//
//	0198a6…                    the event id, if it is a UUID in lower case: no other event has it
//	public.outbox_events/17    otherwise schema, table and event id; %XX stands for the bytes
//	                           that AWS refuses, for %, for # and, before their separator, for .
//	                           and /; so the ids of two tables differ
//	sha256:9f86d0…             SHA-256 of that, if there is no room for a redrive's suffix
//
// A relay with several tables writes the table before a UUID too, because the tables of two tenants
// may have been filled from one copy.
func DeduplicationID(e *outbox.Envelope, schema, table string) string {
	id := EventID(e)
	switch {
	case e.Source != nil:
		schema, table = e.Source.Schema, e.Source.Name
	case isUUID(id):
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

// RedriveID returns the MessageDeduplicationId of the n-th redrive of the event with this
// deduplication id. A redrive needs a new id, because for five minutes a broker accepts a message
// with a known id and does not deliver it. No first delivery has an id of this form.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-key-terms.html
func RedriveID(deduplicationID string, n int) string {
	return deduplicationID + "#r" + strconv.Itoa(n)
}

// ReplayID returns the MessageDeduplicationId of an event in a replay, for the reason that
// [RedriveID] gives. It is never longer than that of a redrive, and never equal to one.
func ReplayID(deduplicationID string, replay int64) string {
	return deduplicationID + "#p" + strconv.FormatInt(replay, 10)
}

// EventID returns the id of e. An event without an id cannot be delivered, and its dead letter
// needs an id. That id is derived from the event's sequence or, if there is none, from all of its
// fields.
func EventID(e *outbox.Envelope) string {
	switch {
	case e.ID != "":
		return e.ID
	case e.Sequence != "":
		return "seq:" + e.Sequence
	}
	var row []byte
	for _, field := range []string{
		e.XID, e.AggregateType, e.AggregateID, e.EventType, e.Payload, e.Headers,
		e.CreatedAt,
	} {
		row = strconv.AppendQuote(row, field)
	}
	return string(hash(row))
}

// appendEscaped appends text in the characters that AWS accepts in an identifier. It writes %XX for
// bytes that are not printable ASCII, for the space, for % and for the characters in reserved.
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

// fit returns text, or the hash of text if text is longer than limit.
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

// isUUID reports whether id is a UUID in the format that Postgres prints: lower case with hyphens.
// It has no branch for a character, because whether the next one is a letter cannot be predicted.
func isUUID(id string) bool {
	if len(id) != len(uuidForm) {
		return false
	}
	var differs byte
	for i := range len(uuidForm) {
		differs |= uuidClass[id[i]] ^ uuidClass[uuidForm[i]]
	}
	return differs == 0
}

const uuidForm = "00000000-0000-0000-0000-000000000000"

// uuidClass tells the hexadecimal digits, the hyphen and all other characters apart.
var uuidClass = func() (class [256]byte) {
	for _, digit := range []byte("0123456789abcdef") {
		class[digit] = 1
	}
	class['-'] = 2
	return class
}()
