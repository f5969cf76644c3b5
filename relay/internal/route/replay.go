package route

import (
	"slices"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Replay fills m as [Router.Message] does, with what is sent of e in the replay of this number: an attribute says so to
// consumers, if need be in the place of the last header, and the deduplication id is one that no broker has seen.
func (r *Router) Replay(e *outbox.Envelope, replay int64, m *sink.Message) Routed {
	routed := r.Message(e, m)
	m.DeduplicationID = ReplayID(m.DeduplicationID, replay)
	mark := sink.Attribute{Name: outbox.AttributeReplay, DataType: dataTypeNumber, Value: strconv.FormatInt(replay, 10)}
	own := 0
	for own < len(m.Attributes) && isOwn(m.Attributes[own].Name) {
		own++
	}
	m.Attributes = slices.Insert(m.Attributes, own, mark)
	if len(m.Attributes) > outbox.MaxAttributes {
		m.Attributes = m.Attributes[:outbox.MaxAttributes]
		routed.DroppedHeaders++
	}
	return routed
}
