// Package emitted reads the events that writers emit to the log with pg_logical_emit_message, and
// that have no row in an outbox table.
//
// Its input is the content of one message: a JSON object whose members have the names of the
// columns of outbox_events. Its output is the event, or the problem of a message that is no event.
// relay/docs/messages.md describes the content for writers.
package emitted

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// MaxKept bounds the content of a dead letter, in bytes. The server stores a dead letter as one
// value of at most 1 GB, and JSON can escape a byte as six.
const MaxKept = 16 << 20

// Position is the place of a message in the log.
type Position struct {
	LSN         pglogrepl.LSN
	CommittedAt time.Time // of its transaction
}

// Read fills e with the event in content. It returns the problem of a message that is no event, and
// an empty text for an event. With a problem, e has the whole content as its payload, an id, and as
// much of the aggregate as could be read, so that the message becomes a dead letter of its
// aggregate. Read copies content once, and all strings of e share that copy.
func Read(content []byte, at Position, e *outbox.Envelope) (problem string) {
	text := string(content)
	e.Emitted = true
	e.CreatedAt = string(at.CommittedAt.UTC().AppendFormat(nil, timeFormat))
	problem = readMembers(content, text, e)
	if problem == "" {
		return ""
	}
	e.Payload, e.Headers, e.Malformed = text, "", true
	if len(text) > MaxKept {
		e.Payload = ""
		problem = fmt.Sprintf("%s; its %d bytes are not kept, because they are more than %d", problem, len(text),
			MaxKept)
	}
	if e.ID == "" {
		e.ID = "lsn:" + at.LSN.String()
	}
	return problem
}

// ReadStart fills e from the start of a content of length bytes, which no dead letter keeps. It
// returns the problem. The id and the aggregate are those of the members that end before start
// does, so that later events of the aggregate do not overtake the message.
func ReadStart(start []byte, length int, at Position, e *outbox.Envelope) (problem string) {
	e.Emitted, e.Malformed = true, true
	e.CreatedAt = string(at.CommittedAt.UTC().AppendFormat(nil, timeFormat))
	m := members{e: e}
	decoder := json.NewDecoder(bytes.NewReader(start))
	brace, err := decoder.Token()
	for err == nil && brace == json.Delim('{') {
		var name, value json.RawMessage
		if name, err = memberName(decoder); err == nil {
			if err = decoder.Decode(&value); err == nil {
				m.read(string(name), string(value))
			}
		}
	}
	e.Payload, e.Headers = "", ""
	if e.ID == "" {
		e.ID = "lsn:" + at.LSN.String()
	}
	return fmt.Sprintf("the message has %d bytes, which are not kept, because they are more than %d", length, MaxKept)
}

// memberName returns the next name as JSON.
func memberName(decoder *json.Decoder) (json.RawMessage, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	if name, isText := token.(string); isText {
		return json.Marshal(name)
	}
	return nil, errors.New("the object ends")
}

// timeFormat is that of [outbox.Envelope.CreatedAt].
const timeFormat = "2006-01-02 15:04:05.999999+00"

// readMembers reads the members of the JSON object in text, which is the same as content.
func readMembers(content []byte, text string, e *outbox.Envelope) (problem string) {
	switch {
	case !utf8.Valid(content):
		return "the message is not UTF-8"
	case !json.Valid(content):
		return "the message is not JSON"
	}
	s := scanner{text: text}
	if s.next() != '{' {
		return "the message is no JSON object"
	}
	m := members{e: e}
	for name, value := range s.members() {
		m.read(name, value)
	}
	return m.check()
}

// members collects the members of one message, and the first problem.
type members struct {
	e       *outbox.Envelope
	seen    uint8 // a bit for each name
	problem string
}

// read reads one member. name and value are JSON.
func (m *members) read(name, value string) {
	switch name = unquote(name); name {
	case "id":
		m.text(1<<0, &m.e.ID, name, value)
	case "aggregate_type":
		m.text(1<<1, &m.e.AggregateType, name, value)
	case "aggregate_id":
		m.text(1<<2, &m.e.AggregateID, name, value)
	case "event_type":
		m.text(1<<3, &m.e.EventType, name, value)
	case "payload":
		m.once(1<<4, name)
		m.e.Payload = value
	case "headers":
		m.once(1<<5, name)
		m.headers(value)
	default:
		m.report("the message has an unknown member %q", name)
	}
}

func (m *members) report(format string, args ...any) {
	if m.problem == "" {
		m.problem = fmt.Sprintf(format, args...)
	}
}

func (m *members) once(bit uint8, name string) {
	if m.seen&bit != 0 {
		m.report("the message has two members %q", name)
	}
	m.seen |= bit
}

// text reads a string. It also accepts a number, because json_build_object of Postgres writes an
// integer key as a number.
func (m *members) text(bit uint8, target *string, name, value string) {
	m.once(bit, name)
	switch c := value[0]; {
	case c == '"':
		*target = m.storable(name, unquote(value))
	case c == '-', '0' <= c && c <= '9':
		*target = value
	case value == null:
		*target = ""
	default:
		m.report("member %q is neither a string nor a number", name)
	}
}

// storable returns text without U+0000, which no text of Postgres can hold. An id with it becomes
// empty, because another event may have the id without it.
func (m *members) storable(name, text string) string {
	stored := postgres.Storable(text)
	if stored == text {
		return text
	}
	m.report("member %q has the character U+0000", name)
	if name == "id" {
		return ""
	}
	return stored
}

func (m *members) headers(value string) {
	switch {
	case value == null:
	case value[0] == '{':
		m.e.Headers = value
	default:
		m.report("member %q is no object", "headers")
	}
}

// check returns the first problem.
func (m *members) check() string {
	switch {
	case m.e.ID == "":
		m.report("member %q is missing or empty", "id")
	case m.e.EventType == "":
		m.report("member %q is missing or empty", "event_type")
	case len(m.e.Payload) > outbox.MaxPayload:
		m.report("the payload has %d bytes, no message may have more than %d", len(m.e.Payload), outbox.MaxPayload)
	}
	return m.problem
}
