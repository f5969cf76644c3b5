package pgoutput

import (
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/emitted"
)

// transactional is the flag of a message that its transaction delivers, or nothing if it is rolled
// back.
const transactional = 1

// emitted decodes a message of pg_logical_emit_message. The server sends those of every prefix.
func (d *Decoder) emitted(r *reader, m *Message) error {
	if d.Emitted == "" {
		return nil
	}
	flags, at := r.uint8(), r.lsn()
	if r.err != nil || !strings.HasPrefix(string(r.data[r.next:min(len(r.data), r.next+len(d.Emitted)+1)]),
		d.Emitted+"\x00") {
		return r.err
	}
	r.cString()
	length := int(r.uint32())
	content, err := r.content(length)
	if err != nil {
		return err
	}
	if flags&transactional == 0 {
		m.Kind = KindNonTransactional
		return nil
	}
	if err := d.requireTransaction(); err != nil {
		return err
	}
	position := emitted.Position{LSN: at, CommittedAt: d.committedAt}
	m.Kind = KindEmitted
	if len(content) < length {
		m.Problem = emitted.ReadStart(content, length, position, &m.Row)
	} else {
		m.Problem = emitted.Read(content, position, &m.Row)
	}
	m.Row.Extra = d.noExtra
	if length > longText {
		detach(&m.Row)
	}
	return nil
}

// content returns the content of a message up to its end. Of a content that no dead letter keeps,
// the connection may bring the start alone.
func (r *reader) content(length int) ([]byte, error) {
	if left := len(r.data) - r.next; r.err == nil && length > emitted.MaxKept && length > left {
		length = left
	}
	start, _ := r.skip(length)
	if err := r.end(); err != nil {
		return nil, err
	}
	return r.data[start : start+length], nil
}
