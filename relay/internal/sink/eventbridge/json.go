package eventbridge

import (
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/awsjson"
)

// details are the texts of details, in reused memory: a detail is JSON in a string of JSON.
var details = sync.Pool{New: func() any { return new([]byte) }}

// maxKept is the capacity above which the memory of a detail is not reused.
const maxKept = 64 << 10

// appendJSON appends the body of a PutEvents in AWS JSON 1.1. An event has no time of its own:
// EventBridge sets the time at which it accepts the event, which has seconds, and by which an
// archive replays.
//
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
func appendJSON(text []byte, busARN string, entry *sink.Entry, batch []*sink.Message) []byte {
	detail := details.Get().(*[]byte)
	text = append(text, `{"Entries":[`...)
	for i, m := range batch {
		if i > 0 {
			text = append(text, ',')
		}
		*detail = sink.AppendDetail((*detail)[:0], m)
		text = awsjson.AppendMember(text, `{"EventBusName":`, busARN)
		text = awsjson.AppendMember(text, `,"Source":`, entry.Source)
		text = awsjson.AppendMember(text, `,"DetailType":`, entry.Type(m))
		text = awsjson.AppendMember(text, `,"Detail":`, *detail)
		if a := sink.Trace(m.Attributes); a != nil {
			text = awsjson.AppendMember(text, `,"TraceHeader":`, a.Value)
		}
		text = append(text, '}')
	}
	if cap(*detail) <= maxKept {
		details.Put(detail)
	}
	return append(text, `]}`...)
}
