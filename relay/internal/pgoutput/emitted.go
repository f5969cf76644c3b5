package pgoutput

import (
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
	flags, at, prefix := r.uint8(), r.lsn(), r.cString()
	length := int(r.uint32())
	start, _ := r.skip(length)
	if err := r.end(); err != nil || string(prefix) != d.Emitted {
		return err
	}
	if flags&transactional == 0 {
		m.Kind = KindLoose
		return nil
	}
	if err := d.requireTransaction(); err != nil {
		return err
	}
	position := emitted.Position{LSN: at, CommittedAt: d.committedAt}
	m.Kind, m.Problem = KindEmitted, emitted.Read(r.data[start:start+length], position, &m.Row)
	m.Row.Extra = d.noExtra
	if length > longText {
		detach(&m.Row)
	}
	return nil
}
