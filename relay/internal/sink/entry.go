package sink

import (
	"cmp"
	"encoding/json"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink/awsjson"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Entry says how an event bus carries a message. A bus knows neither bodies nor attributes: rules
// select an event by its source, its detail-type and the members of its detail, which is a JSON
// object.
type Entry struct {
	Source     string
	DetailType string // of every event; if empty, an event's detail-type is its type
}

// DefaultDetailType is the detail-type of an event without a type.
const DefaultDetailType = "event"

// maxDetailType is in characters.
//
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
const maxDetailType = 128

// Type returns the detail-type of m.
func (e *Entry) Type(m *Message) string { return cmp.Or(e.DetailType, m.Type, DefaultDetailType) }

// Size returns the bytes of m as EventBridge counts them: source, detail-type and detail.
//
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html#eb-putevent-size
func (e *Entry) Size(m *Message) int {
	detail := details.Get().(*[]byte)
	defer details.Put(detail)
	*detail = AppendDetail((*detail)[:0], m)
	return len(e.Source) + len(e.Type(m)) + len(*detail)
}

// details are the texts that [Entry.Size] measures, in reused memory.
var details = sync.Pool{New: func() any { return new([]byte) }}

func (e *Entry) validate(m *Message) *RejectedError {
	if n := utf8.RuneCountInString(e.Type(m)); n > maxDetailType {
		return refuse(codeInvalidArgument, "the detail-type has %d characters, at most %d are allowed", n,
			maxDetailType)
	}
	return nil
}

// AppendDetail appends the detail of m: an object with the attributes in metadata, and with the
// body in data if it is JSON, else in text.
//
//	{"metadata":{"event_id":"0198a6…","event_type":"order.created","sequence":4711},"data":{…}}
//
// The body is not the detail itself. A body may be no object, its members could have the names of
// the relay's own, and a rule for one attribute would have to know which events have it where.
func AppendDetail(text []byte, m *Message) []byte {
	text = append(text, `{"metadata":{`...)
	for i := range m.Attributes {
		text = appendMetadata(text, i, &m.Attributes[i])
	}
	text = append(text, '}')
	if !isBase64(m.Attributes) {
		start := len(text)
		text = append(text, `,"data":`...)
		body := len(text)
		if text = append(text, m.Body...); json.Valid(text[body:]) {
			return append(text, '}')
		}
		text = text[:start]
	}
	return append(awsjson.AppendMember(text, `,"text":`, m.Body), '}')
}

func appendMetadata(text []byte, i int, a *Attribute) []byte {
	separator := ","
	if i == 0 {
		separator = ""
	}
	text = awsjson.AppendMember(text, separator, a.Name)
	if a.DataType == Number && isInt64(a.Value) {
		return append(append(text, ':'), a.Value...)
	}
	return awsjson.AppendMember(text, ":", a.Value)
}

// isInt64 reports whether text is an integer that EventBridge accepts, as JSON writes it. Rules
// compare numbers only with numbers.
func isInt64(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && (n == 0 && text == "0" || n > 0 && text[0] != '0' && text[0] != '+' ||
		n < 0 && text[1] != '0')
}

// isBase64 reports whether the body is bytes in base64. Some of these texts are JSON, such as 1234.
func isBase64(attributes []Attribute) bool {
	for i := range attributes {
		if a := &attributes[i]; a.Name == outbox.AttributePayloadEncoding && a.Value == outbox.EncodingBase64 {
			return true
		}
	}
	return false
}
