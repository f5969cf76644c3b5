package route

import (
	"slices"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Replay fills m for the replay with this number, as [Router.Message] does for a first delivery. An
// attribute with the number tells consumers about the replay, and takes the place of the last one
// if there is no room. The deduplication id is new to every broker.
func (r *Router) Replay(e *outbox.Envelope, replay int64, m *sink.Message) Routed {
	routed := r.Message(e, m)
	if routed.Destination == Dropped {
		return routed
	}
	m.DeduplicationID = ReplayID(m.DeduplicationID, replay)
	mark := sink.Attribute{Name: outbox.AttributeReplay, DataType: sink.Number, Value: strconv.FormatInt(replay, 10)}
	m.Own = min(m.Own, outbox.MaxAttributes-1) // a CloudEvent may have as many as there is room for
	m.Attributes = slices.Insert(m.Attributes, m.Own, mark)
	m.Own++
	if len(m.Attributes) > outbox.MaxAttributes {
		m.Attributes = m.Attributes[:outbox.MaxAttributes]
		routed.DroppedHeaders++
	}
	return routed
}
